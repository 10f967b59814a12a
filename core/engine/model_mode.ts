/** Switches a model to evaluation and back, whatever kind of object it is. */

interface Switchable {
  training?: boolean;
  eval(): unknown;
  train?(mode?: boolean): unknown;
  modules?(): Iterable<{ training?: boolean }>;
}

/**
 * Sets a model, or each model of a record, to evaluation mode; disposing sets back what was set.
 *
 * A model with `modules()` gets the mode of every part back, so that a part that was in evaluation
 * mode before stays in it. Objects without an `eval` method are left alone.
 */
export function evaluationMode(model: unknown): Disposable {
  const restores = switchables(model).map((part) => {
    const restore = remember(part);
    part.eval();
    return restore;
  });
  return {
    [Symbol.dispose](): void {
      for (const restore of restores) restore();
    },
  };
}

function remember(model: Switchable): () => void {
  const was = model.training ?? true;
  if (typeof model.modules !== "function") return () => void model.train?.(was);
  const modes = [...model.modules()].map((part) => ({ part, was: part.training }));
  return () => {
    for (const { part, was } of modes) if (part.training !== was) part.training = was;
  };
}

function switchables(model: unknown): Switchable[] {
  if (typeof model !== "object" || model === null) return [];
  if (typeof (model as Partial<Switchable>).eval === "function") return [model as Switchable];
  if (Object.getPrototypeOf(model) !== Object.prototype) return [];
  return Object.values(model).flatMap(switchables);
}
