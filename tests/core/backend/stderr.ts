/** What is written to standard error meanwhile. */
export async function stderrOf(fn: () => unknown): Promise<string> {
  const { writeSync } = Deno.stderr;
  const decoder = new TextDecoder();
  let text = "";
  Deno.stderr.writeSync = (bytes) => {
    text += decoder.decode(bytes, { stream: true });
    return bytes.length;
  };
  try {
    await fn();
  } finally {
    Deno.stderr.writeSync = writeSync;
  }
  return text;
}
