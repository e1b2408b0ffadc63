// Imports go one way: cli, client and server -> wire and artifacts -> store -> lib. Only compose.ts knows drivers.
const room = (name) => `^src/${name}/`;
const only = (name, from, allowed) => ({
  name,
  severity: "error",
  from: { path: from },
  to: { path: "^src/", pathNot: [from, ...allowed] },
});

module.exports = {
  forbidden: [
    only("lib-stands-alone", room("lib"), []),
    only("store-knows-only-lib", room("store"), [room("lib")]),
    only("artifacts-know-the-store-as-a-driver", room("artifacts"), [room("lib"), "^src/store/driver[.]ts$"]),
    only("wire-knows-only-lib", room("wire"), [room("lib")]),
    only("server-does-not-know-clients-or-drivers", room("server"), [
      room("lib"),
      room("wire"),
      room("artifacts"),
      "^src/store/[^/]+[.]ts$",
      "^src/store/layers/",
    ]),
    only("client-does-not-know-the-server", room("client"), [room("lib"), room("wire")]),
    {
      name: "only-compose-knows-drivers",
      severity: "error",
      from: { path: "^src/", pathNot: ["^src/compose[.]ts$", room("store/drivers")] },
      to: { path: room("store/drivers") },
    },
    { name: "nothing-goes-round", severity: "error", from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } } },
    { name: "no-orphans", severity: "error", from: { orphan: true, path: "^src/", pathNot: "[.]d[.]ts$" }, to: {} },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { extensions: [".ts", ".js"] },
  },
};
