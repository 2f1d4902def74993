import { z } from 'zod';

/** A share of the traffic: 0 to 100 in steps of 0.001. More decimals are an error, never rounded silently (SPEC F2). */
export const percentage = z
  .number()
  .min(0, 'must be at least 0')
  .max(100, 'must be at most 100')
  .refine((value) => Math.abs(value * 1000 - Math.round(value * 1000)) < 1e-6, 'must have at most three decimals');
