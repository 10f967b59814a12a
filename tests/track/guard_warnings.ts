/** Warnings of a guard, caught instead of shown. */

/** Runs a function and gives the warnings that it wrote, beside its result. */
export async function quietly<T>(
  fn: () => Promise<T>,
): Promise<{ warnings: string[]; result: T }> {
  const warnings: string[] = [];
  const { warn } = console;
  console.warn = (text: string) => void warnings.push(text);
  try {
    return { result: await fn(), warnings };
  } finally {
    console.warn = warn;
  }
}
