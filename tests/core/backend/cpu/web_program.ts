/** A program that finds no modules of Node, as in a browser, and uses a CPU device with web workers. */

Object.defineProperty(globalThis, "process", { value: undefined, configurable: true });

const { counting, cpuBackend, runOver } = await import("./fixtures.ts");
const backend = cpuBackend({ threads: 3 });
const output = { buffer: backend.allocate(1000, "i32", "test"), size: 1000 };
backend.write(output.buffer, 0, "i32", new Int32Array(1000));
const kernel = counting(1000, 1e8);
const threads = await backend.ready();
for (let i = 0; i < 100; i++) runOver(backend, kernel, [output]);
const got = await backend.read({ ...output, offset: 0 }, "i32");
backend.close();
console.log(`${threads} threads, ${got[999]}`);
