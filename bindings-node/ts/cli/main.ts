#!/usr/bin/env node
import { run } from './run';

const { env: environment, stdout, stderr } = process;

void run(process.argv.slice(2), { environment, stdout, stderr }).then((status) => {
  process.exitCode = status;
});
