#!/usr/bin/env node
import { run } from '@mlx-serving/service-kit';
import { createApp } from './app.ts';
import { environment } from './config.ts';

await run({ name: 'admin', description: "the operators' door: admin REST in front of the gRPC services", environment, createApp });
