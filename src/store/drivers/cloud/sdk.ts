import { StoreError } from "../../driver.ts";

/** Loads a cloud's SDK, which only its users have installed. */
export async function loadSdk<T>(store: string, packageName: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    const missing = cause instanceof Error && (cause as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND";
    if (missing && cause.message.includes(packageName)) {
      throw new StoreError("misconfigured", `the ${store} store needs ${packageName}: npm install ${packageName}`, { cause });
    }
    throw cause;
  }
}
