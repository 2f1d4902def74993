export { createEngine, type Engine, type EngineOptions, type GenerateOptions, type Message } from './engine.ts';
export { type Chunk, Generation, type GenerationDecision, type GenerationEnd } from './generation.ts';
export { InferenceError, type InferenceErrorCode } from './inference-error.ts';
