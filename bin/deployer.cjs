#!/usr/bin/env node
const { join } = require('node:path');
const { loader } = require('../dist/compile-cache.cjs');

const { load, keep } = loader(process.env);
const { main } = load(join(__dirname, '../dist/cli.cjs'));
process.exitCode = 13; // as Node has it for a program that waits for nothing any more
main(process.argv, process).then((exit) => {
  process.exitCode = exit;
  keep();
});
