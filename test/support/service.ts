/** The service of `up --http` behind a socket, over a test's database. */
import { pino } from "pino";
import { serve } from "../../src/http/serve.js";
import { createService, type Service } from "../../src/service/service.js";
import * as tokens from "../../src/store/tokens/tokens.js";
import type { Scope } from "../../src/store/tokens/tokens.js";
import type { TestProject } from "./project.js";

export interface TestService {
  readonly base: string;
  readonly service: Service;
  token(scope: Scope, pipeline?: string | null): Promise<string>;
  /** With a token of this scope. */
  call(scope: Scope, path: string, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
}

export async function startTestService({ database }: Pick<TestProject, "database">): Promise<TestService> {
  const service = createService({ database, log: pino({ level: "silent" }) });
  const errors: string[] = [];
  const server = await serve({ fetch: service.fetch, host: "127.0.0.1", port: 0, log: (text) => errors.push(text) });
  const base = `http://127.0.0.1:${server.port}`;
  const made = new Map<Scope, Promise<string>>();
  const token = async (scope: Scope, pipeline: string | null = null) =>
    (await tokens.create(database, { scope, pipeline, note: null })).text;
  return {
    base,
    service,
    token,
    call: async (scope, path, init = {}) => {
      const text = made.get(scope) ?? token(scope);
      made.set(scope, text);
      return fetch(base + path, { ...init, headers: { authorization: `Bearer ${await text}`, ...init.headers } });
    },
    close: async () => {
      service.endWaits();
      await server.close(1_000);
      await service.close();
      if (errors.length > 0) throw new Error(errors.join("\n"));
    },
  };
}
