export type {
  AllAnswers,
  AnswerObserver,
  CompiledFlags,
  CompileInput,
  EmergencyState,
  EvaluationContext,
  Explanation,
  ExplanationStep,
  FlagAnswer,
  FlagCount,
  FlagInput,
  FlagSetChange,
  SegmentInput,
} from './compiled-flags.ts';
export { compileFlags, FlagSet } from './flag-set.ts';
