/** Which device a program gets: the kind that was asked for, or the best that there is. */

import { findAdapter, type FoundAdapter, openWebGpu } from "./adapter.ts";
import type { Backend } from "./backend.ts";
import { environment } from "./host.ts";
import { ReferenceBackend } from "./reference.ts";

/** Kinds of devices that can be asked for. */
export type DeviceKind = "auto" | "webgpu" | "cpu" | "reference";

/** All of them. */
export const DEVICE_KINDS: readonly DeviceKind[] = ["auto", "webgpu", "cpu", "reference"];

/** What a device is opened with, whichever it will be. */
export interface OpenOptions {
  /** Bytes that tensors may take in all. */
  readonly memoryBudget: number;
  /** Threads of the CPU device. */
  readonly threads?: number;
}

/** A kind that was decided on. */
export interface Choice {
  readonly kind: Exclude<DeviceKind, "auto">;
  /** In a few words. */
  readonly why: string;
  /** The adapter, where it has been asked for. */
  readonly found?: FoundAdapter;
}

/**
 * The kind asked for by the caller, or else by `LEGOML_DEVICE`, or else the best one: WebGPU on a hardware adapter, the CPU
 * where there is none.
 *
 * @throws {RangeError} if `LEGOML_DEVICE` is no kind
 */
export async function chooseDevice(kind: DeviceKind): Promise<Choice> {
  if (kind !== "auto") return { kind, why: "asked for" };
  const wanted = environmentKind();
  if (wanted !== "auto") return { kind: wanted, why: "LEGOML_DEVICE asks for it" };
  const found = await findAdapter();
  if (found.adapter === null) return { kind: "cpu", why: found.why };
  if (!found.software) return { kind: "webgpu", why: "hardware adapter", found };
  return {
    kind: "cpu",
    why: `the only adapter, ${found.name}, is a software one, which is slower`,
  };
}

/** Opens what was decided on. */
export async function openChoice(
  { kind, found }: Choice,
  { memoryBudget, threads }: OpenOptions,
): Promise<Backend> {
  if (kind === "reference") return new ReferenceBackend();
  if (kind === "webgpu") return await openWebGpu({ memoryBudget }, found);
  // Programs that train on a GPU need neither the compiler nor its start-up time.
  const { openCpu } = await import("./cpu/open.ts");
  return openCpu({ memoryBudget, threads });
}

function environmentKind(): DeviceKind {
  const text = environment("LEGOML_DEVICE");
  if (text === undefined || text === "") return "auto";
  const kind = DEVICE_KINDS.find((k) => k === text);
  if (kind !== undefined) return kind;
  throw new RangeError(
    `Cannot use LEGOML_DEVICE "${text}": expected auto, webgpu, cpu or reference`,
  );
}
