#!/usr/bin/env node
import { run } from '@mlx-serving/service-kit';
import { createApp } from './app.ts';
import { environment } from './config.ts';

await run({ name: 'qos', description: 'Sees every finished stream and lends limits to the gateways.', environment, createApp });
