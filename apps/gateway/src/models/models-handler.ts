import { sendJson } from '@mlx-serving/service-kit';
import { errors } from '../errors.ts';
import type { HttpContext } from '../http/http-context.ts';
import type { ModelEntry, ModelService } from './model-service.ts';

/** GET /v1/models and GET /v1/models/{id}. */
export function createModelsHandlers(models: ModelService) {
  return {
    list: async ({ response }: HttpContext): Promise<void> => {
      sendJson(response, 200, { object: 'list', data: (await models.list()).map(toOpenAiModel) });
    },
    get: async ({ response, name }: HttpContext): Promise<void> => {
      const model = (await models.list()).find(({ id }) => id === name);
      if (!model) throw errors.MODEL_NOT_FOUND({ model: name });
      sendJson(response, 200, toOpenAiModel(model));
    },
  };
}

function toOpenAiModel({ id, created }: ModelEntry) {
  return { id, object: 'model', created: Number(created), owned_by: 'mlx-serving' };
}
