/**
 * What the calling thread and its workers tell each other through shared memory, and the program of a worker.
 *
 * A team works on one phase of a kernel at a time. The calling thread writes what is to be done and makes the ticket odd; workers
 * that see an odd ticket say that they are inside, look at the ticket once more, and take tasks if it is still the same. The
 * calling thread takes tasks, too; when none is left it makes the ticket even and waits until nobody is inside. Either a worker
 * sees the even ticket or the calling thread sees the worker inside, so a worker that comes late or is still compiling neither
 * delays anything nor takes part in what it was not meant for.
 */

/** Words of the control block; what one side writes often has a line of the cache for itself. */
export const control = {
  /** Odd while tasks may be taken; each phase has its own. */
  ticket: 0,
  /** The number of the kernel. */
  kernel: 16,
  /** Where its module lies. */
  code: 17,
  /** Bytes of the module. */
  codeBytes: 18,
  /** The number of the phase. */
  phase: 19,
  /** The address of the arguments. */
  args: 20,
  /** How many tasks the phase has. */
  tasks: 21,
  /** How many of them are taken at once. */
  chunk: 22,
  /** The next task that nobody has taken. */
  next: 32,
  /** How many workers sleep. */
  sleepers: 48,
  /** How many workers have started. */
  ready: 64,
  /** 1 when workers shall end. */
  stop: 65,
  /** 0, or 1 + the number of bytes of the message of the first error. */
  error: 66,
  /** The message. */
  message: 80,
  /** Bytes that a message may have. */
  messageBytes: 256,
  /** The first word of a worker: whether it is inside; the word behind it: the address of its scratch memory. */
  worker: 144,
  /** Words from one worker to the next. */
  stride: 16,
} as const;

/** Bytes of the control block for so many workers. */
export function controlBytes(workers: number): number {
  return 4 * (control.worker + control.stride * workers);
}

/**
 * How long a worker that has nothing to do looks for more before it sleeps, in µs: about what waking it costs, so that neither
 * wastes much more than the other.
 */
const SPIN_US = 40;

/** What a worker is started with. */
export interface WorkerData {
  /** The memory of the device. */
  readonly memory: WebAssembly.Memory;
  /** Where the control block lies. */
  readonly address: number;
  /** Its number, from 0. */
  readonly index: number;
  /** How many there will be. */
  readonly count: number;
  /** The program itself, to start others with. */
  readonly source: string;
}

/**
 * The program of a worker, plain JavaScript in one string: no file has to be found at run time, whatever the program was bundled
 * or compiled with. Where threads are made by `node:worker_threads`, whose constructor waits until the thread is up, a worker
 * starts up to two others, so that the calling thread waits for one only.
 */
export const workerSource: string = `"use strict";
const work = ({ memory, address, index }) => {
  const words = new Int32Array(memory.buffer, address);
  const own = ${control.worker} + ${control.stride} * index;
  const kernels = new Map();
  const pause = Atomics.pause ?? (() => {});
  const fail = (error) => {
    if (Atomics.compareExchange(words, ${control.error}, 0, 1) !== 0) return;
    const text = new TextEncoder().encode(error?.message ?? String(error)).slice(0, ${control.messageBytes});
    new Uint8Array(memory.buffer, address + 4 * ${control.message}).set(text);
    Atomics.store(words, ${control.error}, 1 + text.length);
  };
  const compile = (code, bytes) => {
    const module = new WebAssembly.Module(new Uint8Array(memory.buffer, code, bytes).slice());
    return new WebAssembly.Instance(module, { host: { memory } }).exports;
  };
  /** The next ticket, or 0 at the end. */
  const wait = (done) => {
    let until = 0;
    for (let spins = 1;; spins++) {
      // In this order: whoever stops the team changes the ticket after saying so, and a changed ticket wakes.
      const ticket = Atomics.load(words, ${control.ticket});
      if (Atomics.load(words, ${control.stop}) !== 0) return 0;
      if (ticket !== done && (ticket & 1) === 1) return ticket;
      pause();
      if ((spins & 31) !== 0) continue;
      const now = performance.now();
      if (until === 0) until = now + ${SPIN_US / 1000};
      else if (now > until) {
        Atomics.add(words, ${control.sleepers}, 1);
        Atomics.wait(words, ${control.ticket}, ticket);
        Atomics.sub(words, ${control.sleepers}, 1);
        until = 0;
      }
    }
  };
  const takeTasks = (run) => {
    const args = words[${control.args}];
    const tasks = words[${control.tasks}] >>> 0;
    const chunk = words[${control.chunk}];
    const scratch = words[own + 1];
    for (;;) {
      const begin = Atomics.add(words, ${control.next}, chunk) >>> 0;
      if (begin >= tasks) return;
      run(args, begin, Math.min(begin + chunk, tasks), scratch);
    }
  };
  const turn = (ticket) => {
    const kernel = Atomics.load(words, ${control.kernel});
    const code = Atomics.load(words, ${control.code}) >>> 0;
    const bytes = Atomics.load(words, ${control.codeBytes});
    const phase = Atomics.load(words, ${control.phase});
    // Unless the ticket is still the same these may belong to different phases.
    if (Atomics.load(words, ${control.ticket}) !== ticket) return;
    let exports = kernels.get(kernel);
    if (exports === undefined) kernels.set(kernel, exports = compile(code, bytes));
    const run = exports["phase" + phase];
    Atomics.store(words, own, 1);
    try {
      if (Atomics.load(words, ${control.ticket}) === ticket) takeTasks(run);
    } catch (error) {
      fail(error);
    } finally {
      Atomics.store(words, own, 0);
    }
  };
  Atomics.add(words, ${control.ready}, 1);
  try {
    for (let done = 0; (done = wait(done)) !== 0;) turn(done);
  } catch (error) {
    fail(error);
  }
};
if (typeof require === "function") {
  const { Worker, workerData } = require("node:worker_threads");
  const { index, count, source } = workerData;
  for (const child of [2 * index + 1, 2 * index + 2]) {
    if (child < count) new Worker(source, { eval: true, workerData: { ...workerData, index: child } });
  }
  work(workerData);
} else {
  onmessage = ({ data }) => {
    work(data);
    close();
  };
}
`;
