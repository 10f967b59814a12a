/** What a schedule of keyframes is made of, checked and put in order. */

import {
  checkNames,
  checkNumber,
  checkRates,
  checkWord,
  type PerGroup,
  showValue,
} from "./checks.ts";
import { checkFactor } from "./plateau.ts";
import { METER_OPTIONS, PlateauMeter, type PlateauMeterOptions } from "./plateau_meter.ts";

/** A learning rate at a place of the run. */
export interface Keyframe {
  /** Steps, or a share of the run from 0 to 1 with units "percent"; or the end of the run. */
  readonly position: number | "end";
  /**
   * The rate there: one number for the first group, which the others follow, or a list. Left out
   * where a plateau ends, since the metric decides what the rate is by then.
   */
  readonly lr?: number | readonly number[];
}

/** Where a transition is, and between what. */
export interface TransitionPlace {
  /** The rate of the frame before. */
  readonly from: number;
  /** The rate of the frame behind. */
  readonly to: number;
  /** The share of the way, from 0 to 1. */
  readonly share: number;
  /** Steps since the frame before. */
  readonly step: number;
  /** Steps between the frames. */
  readonly length: number;
  /** The number of the group. */
  readonly group: number;
}

/** A transition of one's own: a pure function that gives the rate. */
export type TransitionFunction = (place: TransitionPlace) => number;

/** A transition that follows a metric, as `Plateau` does. */
export interface PlateauTransition extends PlateauMeterOptions {
  /** Says what it is. */
  readonly type: "plateau";
  /** What the rate is multiplied by at a reduction, from 0 to below 1. @default {0.1} */
  readonly factor?: number;
  /** The least rate. @default {0} */
  readonly minLr?: number | readonly number[];
}

/**
 * How the rate goes from one frame to the next: in a straight line, along half a cosine, by equal
 * ratios (rates above 0), as a metric says, or by a function.
 */
export type Transition =
  | "linear"
  | "cosine"
  | "exponential"
  | PlateauTransition
  | TransitionFunction;

/** A plateau with what it remembers. */
export interface PlateauPart {
  readonly meter: PlateauMeter;
  readonly factor: number;
  readonly minLr: PerGroup;
}

/** A frame, and how the next one is reached. */
export interface Frame {
  readonly position: number | "end";
  readonly lr: PerGroup | null;
  readonly transition: Exclude<Transition, PlateauTransition>;
  readonly plateau: PlateauPart | null;
}

/** What the list of a KeyframeLR holds. */
export type KeyframeItem = Keyframe | Transition;

const OWNER = "KeyframeLR";
const NAMED = ["linear", "cosine", "exponential"] as const;

/** Puts frames in order, each with the transition behind it. */
export function framesOf(items: readonly KeyframeItem[], units: "steps" | "percent"): Frame[] {
  if (!Array.isArray(items)) {
    throw new TypeError(
      `Cannot make ${OWNER}: expected a list of frames, found ${showValue(items)}`,
    );
  }
  const frames: { frame: Keyframe; transition: Transition | null }[] = [];
  for (const item of items as readonly KeyframeItem[]) {
    if (isKeyframe(item)) {
      frames.push({ frame: checkFrame(item, units), transition: null });
      continue;
    }
    const last = frames.at(-1);
    if (last === undefined) fail("expected a frame before the first transition");
    if (last!.transition !== null) fail("expected one transition between two frames, found two");
    last!.transition = item;
  }
  if (frames.length === 0) fail("expected at least one frame");
  if (frames.at(-1)!.transition !== null) fail("expected a frame after the last transition");
  const sorted = inOrder(frames);
  return sorted.map(({ frame, transition }, i) => {
    const plateau = isPlateau(transition) ? plateauOf(transition) : null;
    const before = sorted[i - 1]?.transition ?? null;
    checkLr(frame, i, isPlateau(before));
    return {
      position: frame.position,
      lr: frame.lr === undefined ? null : checkRates(OWNER, `lr of frame ${i}`, frame.lr),
      transition: plateau === null ? checkTransition(transition ?? "linear") : "linear",
      plateau,
    };
  });
}

/** The items as data. @throws {TypeError} if a transition is a function */
export function itemsJson(frames: readonly Frame[]): unknown[] {
  return frames.flatMap(({ position, lr, transition, plateau }, i): unknown[] => {
    const rate = lr === null ? {} : { lr: typeof lr === "number" ? lr : [...lr] };
    const frame = { position, ...rate };
    if (i === frames.length - 1) return [frame];
    if (plateau !== null) return [frame, plateauJson(plateau)];
    if (typeof transition === "string") return [frame, transition];
    throw new TypeError(
      `Cannot write ${OWNER} as JSON: the transition behind frame ${i} is a function`,
    );
  });
}

function plateauJson({ meter, factor, minLr }: PlateauPart): PlateauTransition {
  return { type: "plateau", ...meter.options, factor, minLr };
}

function isKeyframe(item: KeyframeItem): item is Keyframe {
  return typeof item === "object" && item !== null && "position" in item;
}

function isPlateau(item: Transition | null): item is PlateauTransition {
  return typeof item === "object" && item !== null;
}

function checkFrame(frame: Keyframe, units: "steps" | "percent"): Keyframe {
  checkNames("a keyframe", frame, ["position", "lr"]);
  if (frame.position === "end") return frame;
  const high = units === "percent" ? 1 : Number.MAX_VALUE;
  checkNumber(OWNER, "position", frame.position, [0, high]);
  return frame;
}

type Placed = { readonly frame: Keyframe; readonly transition: Transition | null };

/** Frames by position; with transitions between them they must be in order already. */
function inOrder(frames: readonly Placed[]): readonly Placed[] {
  const place = ({ frame }: Placed) => frame.position === "end" ? Infinity : frame.position;
  const sorted = [...frames].sort((a, b) => place(a) - place(b));
  sorted.forEach((item, i) => {
    if (i > 0 && sorted[i - 1].frame.position === item.frame.position) {
      fail(`expected one frame at a position, found two at ${item.frame.position}`);
    }
  });
  const moved = sorted.some((item, i) => item !== frames[i]);
  if (moved && frames.some(({ transition }) => transition !== null)) {
    fail("expected frames with transitions between them in the order of their positions");
  }
  return sorted;
}

function checkLr({ lr, position }: Keyframe, index: number, afterPlateau: boolean): void {
  if (afterPlateau && lr !== undefined) {
    fail(
      `expected no lr at ${position}, where a plateau ends with the rate that the metric left, ` +
        `found ${showValue(lr)}`,
    );
  }
  if (!afterPlateau && lr === undefined) fail(`expected an lr in frame ${index}, found none`);
}

function checkTransition(transition: Transition): Exclude<Transition, PlateauTransition> {
  if (typeof transition === "function") return transition;
  return checkWord(OWNER, "a transition", transition, NAMED);
}

function plateauOf(transition: PlateauTransition): PlateauPart {
  checkNames("a plateau transition", transition, [...METER_OPTIONS, "type", "factor", "minLr"]);
  const { type, factor = 0.1, minLr = 0, ...meter } = transition;
  checkWord(OWNER, "a transition of type", type, ["plateau"]);
  return {
    meter: new PlateauMeter(OWNER, meter),
    factor: checkFactor(OWNER, factor),
    minLr: checkRates(OWNER, "minLr", minLr),
  };
}

function fail(why: string): never {
  throw new RangeError(`Cannot make ${OWNER}: ${why}`);
}
