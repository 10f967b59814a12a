/** What the tests of this folder may do, and where the real data lie. */

async function granted(descriptor: Deno.PermissionDescriptor): Promise<boolean> {
  return (await Deno.permissions.query(descriptor)).state === "granted";
}

/** Whether files may be read and written. */
export const canUseFiles: boolean = await granted({ name: "read" }) &&
  await granted({ name: "write" });

/** Whether a server may be started on this machine, and asked. */
export const canUseNet: boolean = await granted({ name: "net" });

/** Whether the environment may be read and changed. */
export const canUseEnv: boolean = await granted({ name: "env" });

/** The folder with the real MNIST files, if there is one. */
export const mnistFolder: string | undefined = await findMnist();

async function findMnist(): Promise<string | undefined> {
  if (!canUseFiles) return undefined;
  const given = canUseEnv ? Deno.env.get("LEGOML_MNIST") : undefined;
  const beside = new URL("../../../shared/data/mnist", import.meta.url).pathname;
  for (const folder of [given, beside]) {
    if (folder !== undefined && await exists(folder)) return folder;
  }
  return undefined;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A folder that is removed with all that is in it. */
export async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir({ prefix: "legoml_test_" });
  return {
    path,
    async [Symbol.asyncDispose](): Promise<void> {
      await Deno.remove(path, { recursive: true });
    },
  };
}

/** Packs data with gzip. */
export async function gzip(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();
  const packed = stream.pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}
