export { compileFlags, type CompileInput, type FlagInput } from './compile-flags.ts';
export type { CompiledFlags, EmergencyState, EvaluationContext, FlagAnswer } from './compiled-flags.ts';
