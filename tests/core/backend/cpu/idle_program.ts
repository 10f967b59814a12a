/** A program that uses a CPU device with workers and ends without closing it. */

import { counting, cpuBackend, runOver } from "./fixtures.ts";

const backend = cpuBackend({ threads: 3 });
const output = { buffer: backend.allocate(1000, "i32", "test"), size: 1000 };
backend.write(output.buffer, 0, "i32", new Int32Array(1000));
const kernel = counting(1000, 1e8);
const threads = await backend.ready();
for (let i = 0; i < 10; i++) runOver(backend, kernel, [output]);
// Longer than workers look for work before they sleep.
await new Promise((resolve) => setTimeout(resolve, 20));
const got = await backend.read({ ...output, offset: 0 }, "i32");
console.log(`${threads} threads, ${got[999]}`);
