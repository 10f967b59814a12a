/** A folder of pictures, as the benchmark of loader workers opens it in each worker. */

import { type ImageFolder, imageFolder } from "../../data/mod.ts";

/** Opens the folder; nothing is kept, so every epoch decodes anew. */
export default function open(folder: string): Promise<ImageFolder> {
  return imageFolder(folder, { cacheBytes: 0 });
}
