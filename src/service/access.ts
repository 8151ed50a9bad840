/** Who calls: the token of a call, and what it may do. */
import { problem } from "../http/problem.js";
import type { Scope, Token } from "../store/tokens/tokens.js";
import type { Call, Desk, Route } from "./routes.js";

/** What each scope may do. */
const MAY: Readonly<Record<Scope, readonly Scope[]>> = {
  push: ["push"],
  read: ["read"],
  operate: ["push", "read", "operate"],
  admin: ["push", "read", "operate", "admin"],
};

/** The token, or the answer to a caller without one that may do this. */
export async function admit(desk: Desk, call: Call, route: Route): Promise<Token | Response> {
  const text = route.tokenInPath ? call.req.param("token") : bearerOf(call);
  if (text === undefined || text === "") return unauthorized("This call needs a token: Authorization: Bearer rwm_…");
  const token = await desk.tokens.find(text);
  if (token === null) {
    if (route.scope === "push")
      desk.refused.note({ pipeline: null, reason: "the token is unknown or revoked", example: beginningOf(text) });
    return unauthorized("The token is unknown, or was revoked. Create one: rowmill tokens create --scope push");
  }
  if (route.scope !== null && route.scope !== "any" && !MAY[token.scope].includes(route.scope))
    return forbidden(`A token of the scope "${token.scope}" may not do this. It needs "${route.scope}".`);
  const name = call.req.param("name");
  if (name !== undefined && token.pipeline !== null && token.pipeline !== name)
    return forbidden(`The token is for the pipeline "${token.pipeline}" only.`);
  if (route.tokenInPath && (token.scope !== "push" || token.pipeline === null))
    return forbidden("In an address, only a token of the scope push for one pipeline works.");
  return token;
}

/** As `rowmill tokens` shows it, to find who still sends it. Null: it never was one. */
function beginningOf(text: string): string | null {
  return /^rwm_[0-9a-f]{6}/.exec(text)?.[0] ?? null;
}

function bearerOf(call: Call): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(call.req.header("authorization") ?? "")?.[1];
}

/** Of a call that outlives its token. */
export function revoked(): Response {
  return unauthorized("The token was revoked.");
}

function unauthorized(detail: string): Response {
  return problem({ status: 401, code: "unauthorized", detail }, { "www-authenticate": "Bearer" });
}

function forbidden(detail: string): Response {
  return problem({ status: 403, code: "forbidden", detail });
}
