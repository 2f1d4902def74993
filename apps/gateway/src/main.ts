#!/usr/bin/env node
import { run } from '@mlx-serving/service-kit';
import { environment } from './config.ts';
import { createGateway } from './processes/create-gateway.ts';

await run({ name: 'gateway', description: 'The data plane: an OpenAI-compatible HTTP door and a gRPC door in front of MLX workers.', environment, createApp: createGateway });
