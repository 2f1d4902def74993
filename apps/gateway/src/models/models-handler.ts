import { sendJson } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import { callerHeaders, type HttpContext } from '../http/http-context.ts';
import type { ReadCaller } from '../tenants/caller-service.ts';
import type { ModelEntry, ModelService } from './model-service.ts';

/** GET /v1/models and GET /v1/models/{id}. */
export function createModelsHandlers(models: ModelService, readCaller: ReadCaller) {
  return {
    list: async (context: HttpContext): Promise<void> => {
      readCaller(callerHeaders(context));
      const { response } = context;
      sendJson(response, 200, { object: 'list', data: (await models.list()).map(toOpenAiModel) });
    },
    get: async (context: HttpContext): Promise<void> => {
      readCaller(callerHeaders(context));
      const { response, name } = context;
      const model = (await models.list()).find(({ id }) => id === name);
      if (!model) throw errors.MODEL_NOT_FOUND({ model: name });
      sendJson(response, 200, toOpenAiModel(model));
    },
  };
}

function toOpenAiModel({ id, created }: ModelEntry) {
  return { id, object: 'model', created: Number(created), owned_by: 'mlx-serving' };
}
