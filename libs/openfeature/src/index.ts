export { type FlagSource, MlxServingProvider } from './mlx-serving-provider.ts';
