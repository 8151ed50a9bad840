/**
 * A rule of this project's own for oxlint: what a stage makes durable, and what it asks of a provider, goes through a named step,
 * where it is timed and can be made to fail. Reads go through `context.read`, whose type has no way to write.
 */

/** The calls of `Provider` that go over the network. */
const remoteCalls = new Set([
  "uploadInput",
  "findInputs",
  "deleteFile",
  "createBatch",
  "findBatches",
  "retrieveBatch",
  "cancelBatch",
  "readLines",
]);
/** Functions that write to this machine's disk for a stage. */
const localWrites = new Set(["removeSpool"]);
const seams = new Set(["step", "eachStep", "moveBatch"]);

/** `name` or `anything.name` */
function calledName(node) {
  const { callee } = node;
  if (callee.type === "Identifier") return callee.name;
  return callee.type === "MemberExpression" && !callee.computed ? callee.property.name : null;
}

function isInStep(node) {
  for (let child = node, parent = node.parent; parent; child = parent, parent = parent.parent) {
    if (parent.type === "CallExpression" && parent.callee !== child && seams.has(calledName(parent)))
      return true;
  }
  return false;
}

const throughStep = {
  meta: { type: "problem", schema: [] },
  create(context) {
    const report = (node, what) => {
      if (isInStep(node)) return;
      context.report({
        node,
        message: `${what} outside a step: write it as context.step("stage.name", () => …), and list the name in step-names.ts.`,
      });
    };
    return {
      MemberExpression(node) {
        if (!node.computed && node.property.name === "database") report(node, "The database");
      },
      ObjectPattern(node) {
        for (const property of node.properties) {
          if (property.type === "Property" && property.key.name === "database")
            report(property, "The database");
        }
      },
      CallExpression(node) {
        const name = calledName(node);
        if (node.callee.type === "MemberExpression" && remoteCalls.has(name))
          report(node, `provider.${name}`);
        if (node.callee.type === "Identifier" && localWrites.has(name)) report(node, `${name}`);
      },
    };
  },
};

export default { meta: { name: "rowmill" }, rules: { "through-step": throughStep } };
