/** Tensors and devices that only keep books, so that the engine is tested without any device. */

import type {
  Callback,
  DeviceLike,
  Engine,
  EventName,
  ScopeLike,
  TensorLike,
} from "../../../core/engine/mod.ts";
import { EVENT_METHODS, EVENT_NAMES } from "../../../core/engine/mod.ts";

/** Books of a device: what lives, and what was asked of it. */
export class FakeDevice implements DeviceLike {
  readonly live = new Set<FakeTensor>();
  readonly scopes: FakeScope[] = [];
  syncs = 0;
  flushes = 0;

  /** A tensor of this device, in its innermost scope. */
  make(value = 0, shape: readonly number[] = [], requiresGrad = false): FakeTensor {
    return new FakeTensor(this, value, shape, requiresGrad);
  }

  scope(): FakeScope {
    const scope = new FakeScope(this);
    this.scopes.push(scope);
    return scope;
  }

  flush(): void {
    this.flushes++;
  }

  sync(): Promise<void> {
    this.syncs++;
    return Promise.resolve();
  }
}

/** Releases what was made in it and not kept. */
export class FakeScope implements ScopeLike {
  readonly made = new Set<TensorLike>();

  constructor(readonly device: FakeDevice) {}

  owns(tensor: TensorLike): boolean {
    return this.made.has(tensor);
  }

  keep(tensor: TensorLike): void {
    this.made.delete(tensor);
  }

  close(): void {
    if (this.device.scopes.pop() !== this) throw new Error("scopes closed out of order");
    for (const tensor of this.made) tensor.dispose();
  }
}

/** A number with a life. */
export class FakeTensor implements TensorLike {
  static counter = 0;
  readonly id = FakeTensor.counter++;
  backwards = 0;
  reads = 0;

  constructor(
    readonly device: FakeDevice,
    readonly value: number,
    readonly shape: readonly number[],
    readonly requiresGrad: boolean,
  ) {
    device.live.add(this);
    device.scopes.at(-1)?.made.add(this);
  }

  get released(): boolean {
    return !this.device.live.has(this);
  }

  detach(): FakeTensor {
    return new FakeTensor(this.device, this.value, this.shape, false);
  }

  keep(): this {
    for (const scope of this.device.scopes) scope.keep(this);
    return this;
  }

  dispose(): void {
    this.device.live.delete(this);
  }

  item(): Promise<number> {
    if (this.released) throw new Error("read of a released tensor");
    this.reads++;
    return Promise.resolve(this.value);
  }

  backward(): void {
    this.backwards++;
  }
}

/** Writes one line per event: name, completed counters, current numbers, and what is special. */
export class Transcript implements Callback {
  readonly name = "transcript";
  readonly lines: string[] = [];
  readonly hooks: Partial<Record<EventName, (engine: Engine, line: string) => void>>;

  /** @param hooks called after the line of an event was written */
  constructor(hooks: Partial<Record<EventName, (engine: Engine, line: string) => void>> = {}) {
    this.hooks = hooks;
    for (const event of EVENT_NAMES) {
      Object.defineProperty(this, EVENT_METHODS[event], {
        value: (payload: Payload) => this.#write(event, payload),
      });
    }
  }

  #write(event: EventName, payload: Payload): void {
    const { engine, state } = payload;
    const { epoch, step, localStep } = state.current;
    const special = [
      "complete" in payload ? `complete=${payload.complete}` : "",
      "reason" in payload ? payload.reason : "",
      payload.detail === undefined ? "" : `"${payload.detail}"`,
      payload.error === undefined ? "" : String(payload.error),
    ].filter((text) => text !== "");
    const line = [
      event,
      `done ${state.epoch},${state.localStep},${state.globalStep},${state.samples}`,
      `at ${epoch},${localStep},${step}`,
      ...special,
    ].join(" ");
    this.lines.push(line);
    this.hooks[event]?.(engine, line);
  }
}

interface Payload {
  engine: Engine;
  state: Engine["state"];
  complete?: boolean;
  reason?: string;
  detail?: string;
  error?: unknown;
}
