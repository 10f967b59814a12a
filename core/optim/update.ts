/** One update of a range of parameters: which kernels run, over what. */

import type { Operand } from "../../kernels/types.ts";
import { currentCapture } from "../backend/capture.ts";
import { denseOperand } from "../tensor/launch.ts";
import { noGrad } from "../tensor/tape.ts";
import { empty, type Tensor } from "../tensor/tensor.ts";
import { type Arena, type ArenaRange, rangeOperand } from "./arena.ts";
import type {
  OptimizerOptions,
  ParamGroup,
  ParamState,
  PassCall,
  UpdatePass,
  UpdateRule,
  UpdateSpan,
} from "./options.ts";

/** Neighbours in an arena that are updated alike. */
export interface UpdateParts<O extends OptimizerOptions> {
  readonly rule: UpdateRule<O>;
  readonly group: ParamGroup<O>;
  readonly arena: Arena;
  readonly range: ArenaRange;
  /** What is known of the first parameter. */
  readonly state: ParamState;
  /** Whether all of them are still in the same phase. */
  readonly alike: () => boolean;
  /** The range as kernels are told now. */
  readonly span: () => UpdateSpan;
  readonly verdict: Operand<unknown> | null;
  /** Counts of skipped steps; null where none may be skipped. */
  readonly skips: Tensor | null;
  readonly average: Tensor | null;
  /** The numbers that follow those of the rule. */
  readonly tail: () => readonly number[];
}

/** The memory of a slot, begun as the rule wants it. */
export function slotOf<O extends OptimizerOptions>(
  rule: UpdateRule<O>,
  group: ParamGroup<O>,
  arena: Arena,
  name: string,
): Tensor {
  const initial = rule.initial?.(name, group) ?? 0;
  return rule.single?.includes(name) ? arena.numbers(name, initial) : arena.slot(name, initial);
}

/** The part of a slot that belongs to one parameter. */
export function slotView<O extends OptimizerOptions>(
  rule: UpdateRule<O>,
  group: ParamGroup<O>,
  { arena, index }: { readonly arena: Arena; readonly index: number },
  name: string,
): Tensor {
  const flat = slotOf(rule, group, arena, name);
  return rule.single?.includes(name) ? arena.numberOf(flat, index) : arena.view(flat, index);
}

/** Records the kernels of an update. */
export function recordUpdate<O extends OptimizerOptions>(parts: UpdateParts<O>): void {
  const { rule, group, arena, range, state, alike, span, verdict, skips, average, tail } = parts;
  const { device } = arena.values;
  const slots = rule.slots(group).map((name) => slotOf(rule, group, arena, name));
  using _ = rule.prepare ? device.scope() : null;
  const prepared = noGrad(() => rule.prepare?.(passOf(parts)));
  const inputs = prepared?.inputs ?? [rangeOperand(arena.gradients, range)];
  const flats = [arena.values];
  for (const name of prepared?.slots ?? rule.slots(group)) {
    flats.push(slotOf(rule, group, arena, name));
  }
  if (average) flats.push(average);
  const kernelNow = () => rule.kernel(group, span());
  const kernel = kernelNow();
  currentCapture()?.guard(() => kernelNow() === kernel && alike());
  const live = () => [...rule.scalars(group, state, skips !== null), ...tail()];
  device.record({
    kernel,
    inputs: verdict ? [...inputs, verdict] : inputs,
    outputs: [
      ...flats.map((flat) => rangeOperand(flat, range)),
      ...skips ? [denseOperand(skips)] : [],
    ],
    scalars: live(),
    live,
  });
  const changed = new Set([...flats, ...slots]);
  if (skips) changed.add(skips);
  for (const { storage } of changed) storage.version++;
}

function passOf<O extends OptimizerOptions>(parts: UpdateParts<O>): UpdatePass<O> {
  const { rule, group, arena, range, state, verdict, skips } = parts;
  const { device } = arena.values;
  return {
    group,
    state,
    verdict,
    params: arena.tensors.slice(range.first, range.end),
    first: range.first,
    skips: skips && denseOperand(skips),
    gradients: rangeOperand(arena.gradients, range),
    values: rangeOperand(arena.values, range),
    get span() {
      const { averaged: _, ...own } = parts.span();
      return own;
    },
    get blocks() {
      return denseOperand(arena.blocks);
    },
    slot(name) {
      const flat = slotOf(rule, group, arena, name);
      return rule.single?.includes(name) ? denseOperand(flat) : rangeOperand(flat, range);
    },
    scratch: (count) => empty(device, [count], "f32", "optimizer"),
    view: (flat, k) => arena.viewIn(flat, range, range.first + k),
    blockOf: (k) => arena.blockOf(range.first + k) - arena.blockOf(range.first),
    run({ kernel: kernelNow, inputs, outputs, scalars: live = () => [] }: PassCall) {
      const kernel = kernelNow();
      currentCapture()?.guard(() => kernelNow() === kernel);
      device.record({
        kernel,
        inputs: inputs.filter((input) => input !== null),
        outputs,
        scalars: live(),
        ...kernel.scalars.length > 0 ? { live } : {},
      });
    },
  };
}
