import type { GeneratorCallback, Tree } from '@nx/devkit';

export interface ServiceGeneratorOptions {
  name: string;
  description?: string;
  operationsPort?: number;
}

/** @throws Error when the name is not one, or is taken */
export function serviceGenerator(tree: Tree, options: ServiceGeneratorOptions): Promise<GeneratorCallback>;
