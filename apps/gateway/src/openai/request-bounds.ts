/** Characters of a model's name: of any door. */
export const LONGEST_MODEL = 256;
/** Characters of a user, whoever names it: the body, a header, a gRPC call. */
export const LONGEST_USER = 512;
/** Tokens that an answer may be limited to. */
export const MOST_MAX_TOKENS = 1_000_000;
