#!/usr/bin/env node
import { run } from '@mlx-serving/service-kit';
import { createApp } from './app.ts';
import { environment } from './config.ts';

await run({ name: 'canary', description: 'Compares two variants and splits the traffic between them.', environment, createApp });
