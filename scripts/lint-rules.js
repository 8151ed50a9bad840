/**
 * A rule of this project's own for oxlint: what a stage makes durable, and what it asks of a provider, goes through a named step,
 * where it is timed and can be made to fail. Reads go through `context.read`, whose type has no way to write.
 */

/** The calls of a provider that go over the network, by what they are made on. */
const remoteCalls = {
  provider: new Set([
    "answer",
    "baseline",
    "cancel",
    "create",
    "examine",
    "find",
    "forget",
    "list",
    "results",
    "servesDemo",
    "status",
  ]),
  staging: new Set(["find", "inspect", "remove", "send"]),
  inputs: new Set(["kept", "read"]),
};
/** Functions that write to this machine's disk for a stage. */
const localWrites = new Set(["removeSpool"]);
const seams = new Set(["step", "eachStep", "moveBatch"]);

/** `name` or `anything.name` */
function calledName(node) {
  const { callee } = node;
  if (callee.type === "Identifier") return callee.name;
  return callee.type === "MemberExpression" && !callee.computed ? callee.property.name : null;
}

/** `provider` of `anything.provider?.name` */
function receiverName({ callee }) {
  const { object } = callee;
  return object.type === "MemberExpression" && !object.computed ? object.property.name : object.name;
}

function isRemote(node) {
  if (node.callee.type !== "MemberExpression") return false;
  const receiver = receiverName(node);
  return Object.hasOwn(remoteCalls, receiver) && remoteCalls[receiver].has(calledName(node));
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
        if (isRemote(node)) report(node, `${receiverName(node)}.${name}`);
        if (node.callee.type === "Identifier" && localWrites.has(name)) report(node, `${name}`);
      },
    };
  },
};

export default { meta: { name: "rowmill" }, rules: { "through-step": throughStep } };
