# One image for each service: docker build -f docker/service.Dockerfile --build-arg SERVICE=gateway .
# Reads by the classic builder and by BuildKit alike, so it uses no mounts.

# The manifests alone, so that dependencies are installed again only when a manifest changes.
FROM node:22-slim AS manifests
WORKDIR /repo
COPY . .
RUN find . -type f ! -name package.json ! -name package-lock.json ! -name .npmrc -delete

FROM node:22-slim AS build
WORKDIR /repo
COPY --from=manifests /repo ./
RUN npm ci
COPY . .
RUN npx nx run-many -t build --skip-nx-cache \
 && mkdir /out && cp --recursive --parents apps/*/dist libs/*/dist /out

FROM node:22-slim AS production
ARG SERVICE
WORKDIR /repo
COPY --from=manifests /repo ./
RUN npm ci --omit=dev --workspace "apps/${SERVICE}"

FROM node:22-slim
ARG SERVICE
ENV NODE_ENV=production
WORKDIR /opt/mlx-serving
COPY --from=production /repo ./
COPY --from=build /out/libs ./libs
COPY --from=build /out/apps/${SERVICE} ./apps/${SERVICE}
COPY docker/healthcheck.mjs ./
# A new volume takes the owner of the folder that it covers.
RUN ln -s "apps/${SERVICE}/dist" service && mkdir --parents /var/lib/mlx-serving && chown node:node /var/lib/mlx-serving
USER node
CMD ["node", "service/main.js"]
