/** Whether the target of a link stays inside the tree that the link is in, by its text; `depth`: folders between the tree's root and the link. */
export function isLinkInside(depth: number, target: string): boolean {
  let level = target.startsWith("/") ? -1 : depth;
  for (const segment of target.split("/")) {
    if (level < 0) return false;
    if (segment === "..") level--;
    else if (segment !== "" && segment !== ".") level++;
  }
  return level >= 0;
}
