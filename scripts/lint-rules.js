/**
 * This project's own rules for oxlint.
 * - `one-way`: a room imports only what lies below it.
 * - `through-step`: a stage writes, and calls a provider, only in a named step, which is timed and can be made to fail.
 *   Reads go through `context.read`, whose type cannot write.
 * - `one-dialect`: one spelling of private members, of constants and of calls of the store.
 * - `short-lines`: lines of at most 120 columns. Outside of src one text that does not break well may be longer: the
 *   title of a test, an output, a pattern. SQL and configs break well.
 */
import { posix } from "node:path";

/**
 * What each room may import beside its own files, by the beginnings of paths in src. A path without a slash at its
 * end is one file.
 */
const below = {
  model: [],
  postgres: ["model/"],
  embedded: ["model/"],
  // Formats of files; knows no database.
  files: ["model/"],
  // Sockets and bodies, for every server; knows no route.
  http: ["model/json/json-values"],
  // What `up --http` serves. It needs no worker: the ledger is all that they share.
  service: ["model/", "postgres/", "store/", "http/", "targets/table/read-answers", "version"],
  gateway: ["model/errors", "model/file-errors", "model/words/one-line", "model/json/json-values", "http/"],
  providers: ["model/"],
  store: ["model/", "postgres/"],
  sources: ["model/", "postgres/", "store/"],
  targets: ["model/", "postgres/", "sources/table/columns", "sources/table/inspection"],
  config: ["model/", "postgres/failure", "providers/adapters", "index"],
  connectors: [
    "model/",
    "files/",
    "postgres/",
    "sources/table/columns",
    "sources/table/inspection",
    "targets/table/diagnose",
    "targets/table/ensure",
    "targets/table/fenced",
    "config/database/connection",
    "config/define-source",
    // Shared by vendors.
    "connectors/load-peer",
    "connectors/reading/",
  ],
  // Suites for connectors, also for those that you write.
  testing: ["model/"],
  // Only app names concrete adapters.
  worker: ["model/", "postgres/", "store/", "sources/source", "sources/table/inspection", "targets/target", "version"],
  app: [
    "model/",
    "postgres/",
    "store/",
    "config/",
    "embedded/",
    "files/",
    "sources/",
    "targets/",
    "providers/adapters",
    // `rowmill run` is this source with a question.
    "connectors/files/",
    "worker/",
  ],
  cli: [
    "model/",
    "postgres/",
    "store/",
    "config/",
    "embedded/",
    "files/",
    "providers/adapters",
    "worker/",
    "app/",
    "gateway/",
    "service/",
    // `rowmill init --from` looks at the tables there.
    "connectors/mysql/list-tables",
    "connectors/sqlite/list-tables",
    "version",
  ],
  // The library: what a config needs, and nothing that connects to anything.
  index: ["config/", "connectors/", "model/", "providers/adapters"],
  version: [],
};
/** Rooms in a room, which import one way too: none of these its neighbours that stand further right. */
const inside = {
  config: ["config/read", "config/load", "config/database"],
  worker: ["worker/rounds", "worker/turn", "worker/process"],
};

/** A vendor's folder knows no other vendor. */
const vendors = /^(?:providers|connectors)\/[^/]+(?=\/)/;

/** Of `worker/turn/advance` for example `worker`: where a file's own files are, and what it may import beside them. */
function roomOf(file) {
  const [vendor] = vendors.exec(file) ?? [];
  const [top] = file.split("/");
  return { room: vendor ?? top, others: below[top] ?? [] };
}

function whyNot(file, imported) {
  const { room, others } = roomOf(file);
  const isOwn = imported.startsWith(`${room}/`);
  if (!isOwn && !others.some((path) => (path.endsWith("/") ? imported.startsWith(path) : imported === path)))
    return `src/${room} imports of src only its own files and: ${others.join(", ") || "nothing"}.`;
  const order = inside[room] ?? [];
  const place = (path) => order.findIndex((one) => path.startsWith(`${one}/`));
  return isOwn && place(file) !== -1 && place(imported) > place(file)
    ? `Of the rooms in src/${room} each imports those before it: ${order.join(", ")}.`
    : null;
}

const oneWay = {
  meta: { type: "problem", schema: [] },
  create(context) {
    const [, file] = /(?:^|[\\/])src[\\/](.*)[.]ts$/.exec(context.filename) ?? [];
    if (file === undefined) return {};
    const check = (node) => {
      const { source } = node;
      if (typeof source?.value !== "string" || !source.value.startsWith(".")) return;
      const imported = posix.join(posix.dirname(file.replaceAll("\\", "/")), source.value).replace(/[.]js$/, "");
      const message = whyNot(file.replaceAll("\\", "/"), imported);
      if (message !== null) context.report({ node: source, message });
    };
    return {
      ImportDeclaration: check,
      ImportExpression: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
    };
  },
};

/** The calls of a provider that go over the network, by what they are made on. */
const remoteCalls = {
  provider: new Set([
    "answer",
    "baseline",
    "cancel",
    "create",
    "diagnose",
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
    if (parent.type === "CallExpression" && parent.callee !== child && seams.has(calledName(parent))) return true;
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
          if (property.type === "Property" && property.key.name === "database") report(property, "The database");
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

const isUpperCase = /^[A-Z][A-Z0-9_]*$/;
const collections = new Set(["Set", "Map", "RegExp"]);

const plain = (node) => (/^TS(As|Satisfies)Expression$/.test(node.type) ? plain(node.expression) : node);

/** Whether an initialiser is a value that never changes, judged by its syntax; functions and instances are not. */
function isConstant(initialiser) {
  const node = plain(initialiser);
  if (node.type === "ObjectExpression")
    return node.properties.every(({ type, value }) => type === "Property" && isConstant(value));
  if (node.type === "NewExpression") return collections.has(node.callee.name) && node.arguments.length > 0;
  return /^(Literal|TemplateLiteral|TaggedTemplateExpression|ArrayExpression|UnaryExpression)$/.test(node.type);
}

const oneDialect = {
  meta: { type: "problem", schema: [] },
  create(context) {
    const isStore = /(?:^|[\\/])src[\\/]store[\\/]/.test(context.filename);
    const noKeyword = (node) => {
      if (node.accessibility === "private" && node.kind !== "constructor")
        context.report({ node, message: "Private members are written #name." });
    };
    return {
      PropertyDefinition: noKeyword,
      MethodDefinition: noKeyword,
      Program(program) {
        for (const statement of program.body) {
          const { kind, declarations = [] } = statement.declaration ?? statement;
          for (const { id, init } of kind === "const" ? declarations : [])
            if (id.type === "Identifier" && !isUpperCase.test(id.name) && init !== null && isConstant(init))
              context.report({ node: id, message: "A constant of a module is written in UPPER_CASE." });
        }
      },
      ImportDeclaration(node) {
        const isOfStore = /^[.].*[/]store[/]/.test(node.source.value);
        if (isStore || !isOfStore || node.importKind === "type") return;
        const named = node.specifiers.find(
          ({ type, importKind }) => type === "ImportSpecifier" && importKind !== "type",
        );
        if (named !== undefined)
          context.report({
            node: named,
            message: "Import the store by its module (import * as batches), and call batches.claim(…).",
          });
      },
    };
  },
};

const COLUMNS_MAX = 120;
/** What a line may have next to a longer text. */
const COLUMNS_BESIDE_TEXT_MAX = 60;
/** SQL, by its words, and the text of a config. */
const sqlObjects = "schema|table|function|type|domain|trigger|view|rule|role|operator|constraint|column|database";
const breaksWell = new RegExp(
  [
    "insert into|\\bselect .* from|\\bgrant .* to\\b|\\bfilter \\(|::|\\$\\$",
    `\\b(create|alter|drop) (${sqlObjects})\\b`,
    "[a-z]+_[a-z_]+\\(|pipeline\\(",
  ].join("|"),
);

/** The part of a string, a template or a pattern in each line on which it stands. */
function partsByLine({ loc }, lines) {
  return lines.slice(loc.start.line - 1, loc.end.line).map((text, index) => {
    const line = loc.start.line + index;
    const start = line === loc.start.line ? loc.start.column : 0;
    return { line, part: text.slice(start, line === loc.end.line ? loc.end.column : text.length) };
  });
}

const shortLines = {
  meta: { type: "problem", schema: [] },
  create(context) {
    const { lines } = context.sourceCode;
    const isSource = /(?:^|[\\/])src[\\/]/.test(context.filename);
    /** Line → its longest text. */
    const texts = new Map();
    const note = (node) => {
      for (const { line, part } of partsByLine(node, lines))
        if (part.length > (texts.get(line)?.length ?? 0)) texts.set(line, part);
    };
    const mayBeLong = (text, part) =>
      !isSource && part !== undefined && text.length - part.length <= COLUMNS_BESIDE_TEXT_MAX && !breaksWell.test(part);
    return {
      Literal: note,
      TemplateLiteral: note,
      "Program:exit"() {
        lines.forEach((text, index) => {
          if (text.length <= COLUMNS_MAX || mayBeLong(text, texts.get(index + 1))) return;
          const line = index + 1;
          const loc = { start: { line, column: 0 }, end: { line, column: text.length } };
          context.report({ loc, message: `The line is longer than ${COLUMNS_MAX} columns.` });
        });
      },
    };
  },
};

export default {
  meta: { name: "rowmill" },
  rules: { "one-way": oneWay, "through-step": throughStep, "one-dialect": oneDialect, "short-lines": shortLines },
};
