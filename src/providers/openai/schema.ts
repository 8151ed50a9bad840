/**
 * What OpenAI's strict mode refuses in the JSON schema of an answer, with the path of the field and what to write
 * instead. Pure. Reads the subset that `strictSchema` in src/model writes.
 */
import { shownValue } from "../../model/answer/answer-problems.js";
import type { Json } from "../../model/pipeline.js";

/** Of a strict schema (Structured Outputs guide, 2026). */
const DEPTH_MAX = 10;
const PROPERTIES_MAX = 5_000;
const ENUM_VALUES_MAX = 1_000;
const NAME_CHARACTERS_MAX = 120_000;
/** Of one enum: with more values than these, its texts together are limited. */
const ENUM_VALUES_UNLIMITED_MAX = 250;
const ENUM_CHARACTERS_MAX = 15_000;
/** "\n is not allowed in string literals for structured outputs (strict=true)", and so for a double quote. */
const REFUSED_IN_VALUES = /["\n\r]/;

const PROBLEMS_MAX = 20;

type Node = Readonly<Record<string, Json>>;

interface Child {
  readonly path: string;
  readonly node: Node;
}

export function schemaProblems(schema: Json): readonly string[] {
  const root = { path: "", node: nodeOf(schema) };
  for (const judge of [depthProblems, sizeProblems, valueProblems]) {
    const problems = judge(root);
    if (problems.length > 0) return problems.slice(0, PROBLEMS_MAX);
  }
  return [];
}

function nodeOf(json: Json | undefined): Node {
  return typeof json === "object" && json !== null && !Array.isArray(json) ? json : {};
}

function branchesOf({ anyOf }: Node): readonly Node[] {
  return Array.isArray(anyOf) ? anyOf.map(nodeOf) : [];
}

function fieldsOf({ properties }: Node): readonly (readonly [name: string, Node])[] {
  return Object.entries(nodeOf(properties)).map(([name, field]) => [name, nodeOf(field)] as const);
}

function childrenOf({ path, node }: Child): readonly Child[] {
  const inside = fieldsOf(node).map(([name, field]) => ({
    path: path === "" ? name : `${path}.${name}`,
    node: field,
  }));
  const items = node["items"] === undefined ? [] : [{ path: `${path}[]`, node: nodeOf(node["items"]) }];
  return [...branchesOf(node).map((branch) => ({ path, node: branch })), ...inside, ...items];
}

/** Without null, which stands in the list of a nullable field. */
function valuesIn(node: Node): readonly Json[] | null {
  const values = node["enum"];
  return Array.isArray(values) ? values.filter((value) => value !== null) : null;
}

function depthProblems(at: Child, above = 0): readonly string[] {
  const depth = above + (at.node["properties"] === undefined ? 0 : 1);
  if (depth <= DEPTH_MAX) return childrenOf(at).flatMap((child) => depthProblems(child, depth));
  const place = at.path === "" ? "the answer" : `"${at.path}"`;
  return [`${place} is nested ${depth} levels deep; strict mode allows ${DEPTH_MAX}`];
}

function sizeProblems(root: Child): readonly string[] {
  const size = { properties: 0, values: 0, characters: 0 };
  measure(root, size);
  const limits: [number, number, string][] = [
    [size.properties, PROPERTIES_MAX, "fields"],
    [size.values, ENUM_VALUES_MAX, "enum values"],
    [size.characters, NAME_CHARACTERS_MAX, "characters in names and enum values"],
  ];
  return limits
    .filter(([found, max]) => found > max)
    .map(([found, max, what]) => `the answer has ${found} ${what} in all; strict mode allows ${max}`);
}

function measure(at: Child, size: { properties: number; values: number; characters: number }): void {
  for (const [name] of fieldsOf(at.node)) {
    size.properties += 1;
    size.characters += name.length;
  }
  for (const value of valuesIn(at.node) ?? []) {
    size.values += 1;
    size.characters += typeof value === "string" ? value.length : 0;
  }
  for (const child of childrenOf(at)) measure(child, size);
}

function valueProblems(at: Child): readonly string[] {
  const { path, node } = at;
  const values = valuesIn(node);
  return [
    ...branchProblems(branchesOf(node), path),
    ...(values === null ? [] : enumProblems(values, path)),
    ...childrenOf(at).flatMap(valueProblems),
  ];
}

function enumProblems(values: readonly Json[], path: string): string[] {
  const texts = values.filter((value) => typeof value === "string");
  const characters = texts.reduce((sum, text) => sum + text.length, 0);
  const refused = texts.find((text) => REFUSED_IN_VALUES.test(text));
  const problems: string[] = [];
  if (refused !== undefined)
    problems.push(
      `"${path}" has the value ${shownValue(refused)}; strict mode allows no double quotes or line breaks in a value`,
    );
  if (values.length > ENUM_VALUES_UNLIMITED_MAX && characters > ENUM_CHARACTERS_MAX)
    problems.push(
      `"${path}" has ${values.length} values with ${characters} characters in total; with more than ` +
        `${ENUM_VALUES_UNLIMITED_MAX} values, strict mode allows ${ENUM_CHARACTERS_MAX}: shorten them, or use codes`,
    );
  return problems;
}

/**
 * "Objects provided via 'anyOf' must not share identical first keys": the model's first words must decide the branch. A
 * shared first key with other values in each branch is allowed.
 */
function branchProblems(branches: readonly Node[], path: string): string[] {
  const firsts = branches.flatMap((branch) => fieldsOf(branch).slice(0, 1));
  const clash = firsts.find(([name, field], index) =>
    firsts.slice(0, index).some(([other, before]) => other === name && !areApart(before, field)),
  );
  return clash === undefined
    ? []
    : [
        `"${path}" is a union of objects that all begin with the field "${clash[0]}"; strict mode needs a first ` +
          `field that tells them apart, such as kind: z.literal("…")`,
      ];
}

/** Each lists its values, and they share none. */
function areApart(a: Node, b: Node): boolean {
  const [ofA, ofB] = [everyValueOf(a), everyValueOf(b)];
  return ofA !== null && ofB !== null && !ofA.some((value) => ofB.includes(value));
}

/** Null: it may have others. */
function everyValueOf(node: Node): readonly Json[] | null {
  if (Array.isArray(node["enum"])) return node["enum"];
  if (node["type"] === "null") return [null];
  const lists = branchesOf(node).map(everyValueOf);
  return lists.length === 0 || lists.includes(null) ? null : lists.flatMap((list) => list ?? []);
}
