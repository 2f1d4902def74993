#!/usr/bin/env node
import { run } from '@mlx-serving/service-kit';
import { createApp } from './app.ts';
import { environment } from './config.ts';

await run({ name: 'flags', description: 'feature flags with kill switches on Redis', environment, createApp });
