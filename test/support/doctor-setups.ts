/**
 * Projects in which something is wrong, and what `rowmill doctor` says of them, written by hand. Ports, names and
 * versions are as the test makes them steady.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Variables } from "./cli.js";
import { makeCertificate, startPooler, startTlsServer, type OddServer } from "./odd-servers.js";

/** Roles belong to the whole server: no other run may have the same. */
export const user = `doctor_${randomBytes(4).toString("hex")}`;

/** One group of the report, as it is shown below its heading. */
export interface Report {
  readonly Machine: string;
  readonly Config: string;
  readonly Database: string;
  readonly Tables: string;
  readonly Provider: string;
  readonly Pipelines: string;
  readonly end: string;
}

/** What a healthy project shows. Every broken set-up says which groups it changes. */
const healthy: Report = {
  Machine: `  ok           Node.js: NODE
  ok           Disk: N GB free in FOLDER/.rowmill`,
  Config: `  ok           Config: FOLDER/rowmill.config.ts: 1 pipeline
  ok           Variables: all of them are valid`,
  Database: `  ok           Connection: connected to 127.0.0.1:PORT/DATABASE
  ok           Version: PostgreSQL VERSION
  ok           Encoding: UTF8
  ok           Pooler: none: a direct connection
  ok           TLS: not needed: the connection stays on this machine
  ok           Search path: no other role may create objects in its schemas
  ok           Clock: the database's clock agrees with this machine's
  ok           Rights: this user can create or use Rowmill's schemas and role`,
  Tables: `  ok           Source: films: "public"."films" can be read and watched
  ok           Target: films: answers can be written into "public"."film_labels"
  ok           Other triggers: none sends rows over HTTP, and no setting disables triggers`,
  Provider: `  ok           Key: accepted by http://127.0.0.1:PORT/v1
  ok           Model: gpt-4o-mini is available
  ok           Promise: OpenAI: if a reply is lost, nothing is paid twice
  ok           Price: known for every model
  ok           Clock: the provider's clock agrees with this machine's`,
  Pipelines: `  ok           Ledger: up to date
  ok           Triggers: films: 4 triggers on "public"."films"
  ok           Config: every pipeline in the database is in the config
  ok           Pauses: none
  ok           Work: no worker is running, and nothing is waiting for one
  ok           Batches: the provider has no orphan batch of the last day`,
  end: "Nothing to fix.",
};

/** The groups that need a database, where there is none. */
function without(reason: string): Pick<Report, "Tables" | "Pipelines"> {
  return {
    Tables: `  not checked  Source, Target, Other triggers: ${reason}`,
    Pipelines: `  not checked  Ledger, Triggers, Config, Pauses, Work, Batches: ${reason}`,
  };
}

function unreached(lines: string): Partial<Report> {
  return {
    ...without("the database cannot be reached"),
    Database: `${lines}
  not checked  Version, Encoding, Pooler, TLS, Search path, Clock, Rights: the database cannot be reached`,
  };
}

export interface SetupPlace {
  readonly folder: string;
  readonly url: string;
  /** Refuses every key but its own. */
  readonly strictUrl: string;
  /** An hour late. */
  readonly lateUrl: string;
  /** Closed at the end of the run. */
  keep(server: OddServer): OddServer;
}

export interface Setup {
  /** Run as a superuser in a copy of the healthy database. */
  readonly sql?: string;
  readonly empty?: true;
  env?(place: SetupPlace): Variables | Promise<Variables>;
  readonly config?: string;
  /** Next to the config. */
  readonly files?: Readonly<Record<string, string>>;
  readonly says: Partial<Report>;
  readonly status: number;
}

const films = `films: pipeline({ source, polling, request, answer, target: { table: "film_labels" } })`;

export function configText(pipelines = films): string {
  return `import { defineConfig, pipeline, z } from "rowmill";

const answer = z.object({ summary: z.string() });
const request = { model: "gpt-4o-mini", maxOutputTokens: 200, user: "{{ description }}" };
const source = { table: "films", key: "id", columns: ["title", "description"] } as const;
const polling = { min: "200ms", max: "1s" } as const;

export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { ${pipelines} } });
`;
}

function changed(url: string, change: (url: URL) => void): string {
  const parsed = new URL(url);
  change(parsed);
  return parsed.href;
}

/** By what is looked at. */
export const setups: Readonly<Record<string, Setup>> = {
  "a healthy project": { says: {}, status: 0 },

  "a schema of the search path in which others may create objects": {
    sql: `grant create on schema public to public; create role ${user}_open;
      grant create on schema public to ${user}_open`,
    says: {
      Database: healthy.Database.replace(
        /  ok +Search path: .*/,
        `  warning      Search path: The role USER_open may create objects in the schema "public", which is on the search path of Rowmill's user. Rowmill's own statements ignore that path, but your triggers and \`where\` may find another role's objects there.
               - Run as an administrator or as the owner:
                   revoke create on schema "public" from USER_open;
  warning      Search path: Every role may create objects in the schema "public", which is on the search path of Rowmill's user. Rowmill's own statements ignore that path, but your triggers and \`where\` may find another role's objects there.
               - Run as an administrator or as the owner:
                   revoke create on schema "public" from public;`,
      ),
      end: "2 warnings.",
    },
    status: 0,
  },

  "a database that Rowmill never saw": {
    empty: true,
    sql: `create table films (id bigint primary key, title text, description text)`,
    says: {
      Tables: `  ok           Source: films: "public"."films" can be read and watched
  ok           Target: films: rowmill up creates "public"."film_labels"
  ok           Other triggers: none sends rows over HTTP, and no setting disables triggers`,
      Pipelines: `  ok           Ledger: Rowmill is not set up in this database yet; rowmill up sets it up
  not checked  Triggers, Config, Pauses, Work, Batches: Rowmill is not set up in this database yet; rowmill up sets it up`,
      end: "5 not checked.",
    },
    status: 0,
  },

  "a config with several mistakes": {
    config: `films: pipeline({ source, polling, request: { ...request, user: "{{ descripton }}" }, answer,
      when: { maxwait: "10m" }, target: { table: "film_labels" } } as never)`,
    says: {
      ...without("the config has mistakes"),
      Config: `  problem      Config: FOLDER/rowmill.config.ts: 2 mistakes.
               - pipelines.films.when.maxwait: unknown key (known here: rows, maxWait); did you mean "maxWait"?
               - pipelines.films.request.user: the template names "descripton", which is not a declared column; did you mean "description"?
  ok           Variables: all of them are valid`,
      Database: `  not checked  Connection, Version, Encoding, Pooler, TLS, Search path, Clock, Rights: the config has mistakes`,
      Provider: `  ok           Key: accepted by http://127.0.0.1:PORT/v1
  not checked  Model, Promise, Price: the config has mistakes
  ok           Clock: the provider's clock agrees with this machine's`,
      end: "1 problem, 20 not checked.",
    },
    status: 2,
  },

  "a wrong password": {
    env: ({ url }) => ({ DATABASE_URL: changed(url, (to) => (to.password = "a-wrong-password")) }),
    says: {
      ...unreached(`  problem      Connection: Cannot use 127.0.0.1:PORT/DATABASE. The database refused: password authentication failed for user "postgres".
               - Check the password of the user "postgres" in DATABASE_URL; its characters : / ? # [ ] @ % are written as %3A %2F %3F %23 %5B %5D %40 %25.`),
      end: "1 problem, 16 not checked.",
    },
    status: 2,
  },

  "a database that is not there": {
    env: ({ url }) => ({ DATABASE_URL: changed(url, (to) => (to.pathname = "/flims")) }),
    says: {
      ...unreached(`  problem      Connection: Cannot use 127.0.0.1:PORT/flims. The database refused: database "flims" does not exist.
               - Check the name after the last / in DATABASE_URL, or create the database: create database "flims";`),
      end: "1 problem, 16 not checked.",
    },
    status: 2,
  },

  "a port at which no one listens": {
    env: ({ url }) => ({ DATABASE_URL: changed(url, (to) => (to.port = "1")) }),
    says: {
      ...unreached(`  problem      Connection: Cannot use 127.0.0.1:PORT/DATABASE. The database did not answer: connect ECONNREFUSED 127.0.0.1:PORT.
               - Nothing listens at 127.0.0.1:PORT: check host and port in DATABASE_URL, and that the server runs.
               - Inside a container this host is the container itself: name the database's own host.`),
      end: "1 problem, 16 not checked.",
    },
    status: 2,
  },

  "TLS demanded of a server that has none": {
    env: () => ({ PGSSLMODE: "require" }),
    says: {
      ...unreached(`  problem      Connection: Cannot use 127.0.0.1:PORT/DATABASE. The database offers no TLS: The server does not support SSL connections.
               - PGSSLMODE ("require") asks for TLS: turn TLS on at the server, or set sslmode=disable on a network that you trust.`),
      end: "1 problem, 16 not checked.",
    },
    status: 2,
  },

  "a certificate from an authority that no one named": {
    env: async ({ folder: at, keep }) => {
      const server = keep(await startTlsServer(await makeCertificate(at, "impostor")));
      return {
        PGSSLMODE: undefined,
        DATABASE_URL: `postgres://u:p@127.0.0.1:${server.port}/app?sslmode=verify-full`,
      };
    },
    says: {
      ...unreached(`  problem      Connection: Cannot use 127.0.0.1:PORT/app. The server's certificate is not trusted: self-signed certificate.
               - Name the file of the authority that signed it: PGSSLROOTCERT=/path/to/ca.crt, or sslrootcert in the URL. Supabase has it under Database Settings, SSL Configuration.`),
      end: "1 problem, 16 not checked.",
    },
    status: 2,
  },

  "a certificate from another authority than the one that is named": {
    env: async ({ folder: at, keep }) => {
      const server = keep(await startTlsServer(await makeCertificate(at, "impostor")));
      await makeCertificate(at, "authority");
      return {
        PGSSLMODE: "verify-ca",
        PGSSLROOTCERT: join(at, "authority.crt"),
        DATABASE_URL: `postgres://u:p@127.0.0.1:${server.port}/app`,
      };
    },
    says: {
      ...unreached(`  problem      Connection: Cannot use 127.0.0.1:PORT/app. The server's certificate is not trusted: self-signed certificate.
               - The authority in PGSSLROOTCERT (FOLDER/authority.crt) did not sign it: name the right file there.`),
      end: "1 problem, 16 not checked.",
    },
    status: 2,
  },

  "a PGSSLROOTCERT that names no certificate": {
    files: { "ca.crt": "no certificate" },
    env: ({ folder: at }) => ({ PGSSLMODE: "verify-full", PGSSLROOTCERT: join(at, "ca.crt") }),
    says: {
      ...unreached(`  problem      Connection: the connection to the database: one mistake.
               - PGSSLROOTCERT: found "FOLDER/ca.crt" (it holds no readable certificate), expected a file of certificates in PEM format`),
      end: "1 problem, 16 not checked.",
    },
    status: 2,
  },

  "a user who may do nothing": {
    empty: true,
    sql: `create table films (id bigint primary key, title text, description text);
      create schema labels;
      create role ${user} login password 'limited';
      revoke create on schema public from public;`,
    env: ({ url }) => ({
      DATABASE_URL: changed(url, (to) => {
        to.username = user;
        to.password = "limited";
      }),
    }),
    config: `films: pipeline({ source, polling, request, answer, target: { table: "labels.films" } })`,
    says: {
      Database: `  ok           Connection: connected to 127.0.0.1:PORT/DATABASE
  ok           Version: PostgreSQL VERSION
  ok           Encoding: UTF8
  ok           Pooler: none: a direct connection
  ok           TLS: not needed: the connection stays on this machine
  ok           Search path: no other role may create objects in its schemas
  ok           Clock: the database's clock agrees with this machine's
  problem      Rights: The user "USER" may not create the schemas rowmill and rowmill_worker.
               - Run as an administrator or as the owner:
                   grant create on database "DATABASE" to "USER";
  warning      Rights: The user "USER" may not use the role rowmill_arrivals, so Rowmill's trigger functions will run with all rights of "USER".
               - Rowmill works without this role. With it, its triggers can only add rows to rowmill.arrivals.
               - Run as an administrator or as the owner:
                   grant rowmill_arrivals to "USER";`,
      Tables: `  problem      Source: films: the user "USER" may not read or create triggers on "public"."films".
               - Run as an administrator or as the owner:
                   grant select on "public"."films" to "USER";
                   grant trigger on "public"."films" to "USER";
  problem      Target: films: the user "USER" may not create "labels"."films".
               - Run as an administrator or as the owner:
                   grant usage, create on schema "labels" to "USER";
  ok           Other triggers: none sends rows over HTTP, and no setting disables triggers`,
      Pipelines: `  ok           Ledger: Rowmill is not set up in this database yet; rowmill up sets it up
  not checked  Triggers, Config, Pauses, Work, Batches: Rowmill is not set up in this database yet; rowmill up sets it up`,
      end: "3 problems, 1 warning, 5 not checked.",
    },
    status: 2,
  },

  "row-level security that would hide rows": {
    sql: `alter table films enable row level security;
      create role ${user}_rls login password 'limited' in role rowmill_arrivals;
      grant create on database CURRENT to ${user}_rls;
      grant all on schema rowmill, rowmill_worker, public to ${user}_rls;
      grant all on all tables in schema rowmill, rowmill_worker, public to ${user}_rls;`,
    env: ({ url }) => ({
      DATABASE_URL: changed(url, (to) => {
        to.username = `${user}_rls`;
        to.password = "limited";
      }),
    }),
    says: {
      Database: `  ok           Connection: connected to 127.0.0.1:PORT/DATABASE
  ok           Version: PostgreSQL VERSION
  ok           Encoding: UTF8
  ok           Pooler: none: a direct connection
  ok           TLS: not needed: the connection stays on this machine
  ok           Search path: no other role may create objects in its schemas
  ok           Clock: the database's clock agrees with this machine's
  problem      Rights: The schema rowmill belongs to "postgres", and the user "USER_rls" may not act as that role.
               - Connect as "postgres", or ask an administrator for membership in that role.
               - Run as an administrator or as the owner:
                   grant "postgres" to "USER_rls";`,
      Tables: `  problem      Source: films: row-level security would hide rows of "public"."films" from "USER_rls".
               - Rowmill must see all rows. Connect as the table's owner, or ask an administrator to exempt this user.
               - Run as an administrator or as the owner:
                   alter role "USER_rls" bypassrls;
  problem      Target: films: row-level security would hide rows of "public"."film_labels" from "USER_rls".
               - Rowmill must see all rows. Connect as the table's owner, or ask an administrator to exempt this user.
               - Run as an administrator or as the owner:
                   alter role "USER_rls" bypassrls;
  ok           Other triggers: none sends rows over HTTP, and no setting disables triggers`,
      end: "3 problems.",
    },
    status: 2,
  },

  "a source and a target that are not as the config says": {
    config: `films: pipeline({ source: { ...source, table: "flims" },
      polling, request, answer, target: { table: "film_labels" } }),
      more: pipeline({ source, polling, request, answer, target: { table: "nowhere.labels" } }),
      again: pipeline({ source,
        polling, request, answer: z.object({ mood: z.string() }), target: { table: "film_labels" } })`,
    says: {
      Config: `  ok           Config: FOLDER/rowmill.config.ts: 3 pipelines
  ok           Variables: all of them are valid`,
      Tables: `  problem      Source: films: There is no table flims in this database; did you mean "films"?
               - Names are case-sensitive. Write a schema in front of the name, with a dot: other_schema.table
  ok           Source: more: "public"."films" can be read and watched
  ok           Source: again: "public"."films" can be read and watched
  not checked  Target: films: its source was not found
  problem      Target: more: the schema "nowhere" of the target "nowhere"."labels" does not exist.
               - Run as an administrator or as the owner:
                   create schema "nowhere" authorization "postgres";
  warning      Target: again: "public"."film_labels" must be changed before it can hold the answers.
               - rowmill up shows the statements and asks first; rowmill up --yes runs them without asking.
               - Run as an administrator or as the owner:
                   alter table "public"."film_labels" add column if not exists "mood" text;
  not checked  Other triggers: films: its source was not found`,
      Pipelines: `  ok           Ledger: up to date
  not checked  Triggers: films: its source was not found
  ok           Triggers: more: rowmill up creates its triggers
  ok           Triggers: again: rowmill up creates its triggers
  ok           Config: every pipeline in the database is in the config
  ok           Pauses: none
  ok           Work: no worker is running, and nothing is waiting for one
  ok           Batches: the provider has no orphan batch of the last day`,
      end: "2 problems, 1 warning, 3 not checked.",
    },
    status: 2,
  },

  "a target that another role made": {
    sql: `create role ${user}_maker;
      create function shout() returns trigger language plpgsql as $$ begin return new; end $$;
      create trigger loud before insert on film_labels for each row execute function shout();
      alter table film_labels owner to ${user}_maker; alter function shout() owner to ${user}_maker;`,
    says: {
      Tables: `  ok           Source: films: "public"."films" can be read and watched
  problem      Target: films: target: writing to "public"."film_labels" would run code of other roles with the rights of "postgres": the table public.film_labels belongs to "USER_maker"; the function public.shout(), which the trigger loud on public.film_labels uses, belongs to "USER_maker".
               - Read that code first. Then take over what you trust: ${["table public.film_labels", "function public.shout()"].map((one) => `alter ${one} owner to "postgres";`).join(" ")}
               - Or trust these owners, whatever they change: target: { trustOwner: true }
  ok           Other triggers: none sends rows over HTTP, and no setting disables triggers`,
      end: "1 problem.",
    },
    status: 2,
  },

  "no key, and the organization under another name": {
    env: () => ({ OPENAI_API_KEY: undefined, ORG_ID: "org-1" }),
    says: {
      Config: `  ok           Config: FOLDER/rowmill.config.ts: 1 pipeline
  warning      Variables: ORG_ID is set, but Rowmill reads OPENAI_ORG_ID, which is not set.
               - If the value is meant for Rowmill, rename the variable to OPENAI_ORG_ID.`,
      Provider: `  problem      Key: OPENAI_API_KEY is not set, so Rowmill cannot send a batch.
               - Put it into .env next to the config file: OPENAI_API_KEY=sk-…
               - To try Rowmill without a key: rowmill gateway --demo-model. Set the two variables that it prints.
  not checked  Model: the provider did not accept the key, or did not answer
  ok           Promise: OpenAI: if a reply is lost, nothing is paid twice
  ok           Price: known for every model
  not checked  Clock: the provider did not accept the key, or did not answer`,
      Pipelines: healthy.Pipelines.replace(
        /ok {11}Batches.*/,
        "not checked  Batches: the provider did not accept the key, or did not answer",
      ),
      end: "1 problem, 1 warning, 3 not checked.",
    },
    status: 2,
  },

  "a key that the provider refuses": {
    env: ({ strictUrl }) => ({ OPENAI_BASE_URL: strictUrl }),
    says: {
      Provider: `  problem      Key: could not list models: OpenAI answered HTTP 401 (invalid_api_key): Incorrect API key provided. (request REQUEST); check OPENAI_API_KEY, OPENAI_ORG_ID, OPENAI_PROJECT_ID and the account's billing.
               - Create a new key at the provider and set it as OPENAI_API_KEY.
  not checked  Model: the provider did not accept the key, or did not answer
  ok           Promise: OpenAI: if a reply is lost, nothing is paid twice
  ok           Price: known for every model
  not checked  Clock: the provider did not accept the key, or did not answer`,
      Pipelines: healthy.Pipelines.replace(
        /ok {11}Batches.*/,
        "not checked  Batches: the provider did not accept the key, or did not answer",
      ),
      end: "1 problem, 3 not checked.",
    },
    status: 2,
  },

  "an unknown model, a budget in dollars, a clock that is an hour late, and an orphan": {
    env: ({ lateUrl }) => ({ OPENAI_BASE_URL: lateUrl }),
    config: `films: pipeline({ source,
      polling, request: { ...request, model: "gpt-4o-mimi" }, answer, budget: { usd: 1, per: "day" },
      target: { table: "film_labels" } })`,
    says: {
      Provider: `  ok           Key: accepted by http://127.0.0.1:PORT/v1
  warning      Model: http://127.0.0.1:PORT/v1 does not list gpt-4o-mimi.
               - Did you mean "gpt-4o-mini"? Change request.model in the config.
  ok           Promise: OpenAI: if a reply is lost, nothing is paid twice
  problem      Price: films: Rowmill has no price for gpt-4o-mimi, so it cannot enforce a budget in dollars.
               - Did you mean "gpt-4o-mini"? Change request.model in the config.
               - Set the price in the config: request.price: { input: …, output: … }, in dollars per million tokens.
               - Or remove budget, and cap the pipeline with limit.
  warning      Clock: The provider's clock is N s behind this machine's.
               - Synchronize both clocks with a time server (timedatectl set-ntp true). Otherwise log times mislead, and Rowmill may search the wrong hours for a lost batch.`,
      Pipelines: healthy.Pipelines.replace(
        "ok           Batches: the provider has no orphan batch of the last day",
        `problem      Batches: The provider has 1 orphan batch, named after this ledger but not recorded in it: BATCH (STATUS).
               - Did you restore this database from a backup, or copy it? A worker that finds such a batch sends nothing until you say which.
               - If the previous database is gone: rowmill deployment --restored. If it is still in use: rowmill deployment --copy`,
      ),
      end: "2 problems, 2 warnings.",
    },
    status: 2,
  },

  "triggers that are off, missing, somebody else's, or never fire": {
    sql: `alter table films disable trigger rowmill_1_insert; drop trigger rowmill_1_truncate on films;
      alter database CURRENT set session_replication_role = replica;
      create function send_batch() returns void language plpgsql as $$ begin
        perform net.http_post(url := 'https://example.test/hook?token=a-secret-token', body := '{}'::jsonb);
      end $$;
      create function count_films() returns trigger language plpgsql as $$ begin
        if (select count(*) from films) = 1000 then perform public.send_batch(); end if; return new;
      end $$;
      create function harmless() returns trigger language plpgsql as $$ begin return new; -- not http_post(
      end $$;
      create trigger batch_of_1000 after insert on films for each row execute function count_films();
      create trigger touch before update on films for each row execute function harmless();`,
    says: {
      Tables: `  ok           Source: films: "public"."films" can be read and watched
  ok           Target: films: answers can be written into "public"."film_labels"
  warning      Other triggers: films: another program's trigger "batch_of_1000" on public.films sends rows over HTTP to example.test.
               - If it sends the same rows to a model, drop it: otherwise you pay for each row twice.
               - Run as an administrator or as the owner:
                   drop trigger "batch_of_1000" on public.films;
  warning      Other triggers: session_replication_role is replica for every role in the database "DATABASE", so no trigger fires for its writes.
               - Reset the setting. Until then, Rowmill finds what these sessions write only at its next sweep.
               - Run as an administrator or as the owner:
                   alter database "DATABASE" reset session_replication_role;`,
      Pipelines: `  ok           Ledger: up to date
  problem      Triggers: films: 1 of 4 triggers on "public"."films" is missing.
               - rowmill up restores them. Until then, Rowmill finds changed rows only in its periodic sweep.
  problem      Triggers: films: 1 of 4 triggers on "public"."films" is disabled.
               - rowmill up restores them. Until then, Rowmill finds changed rows only in its periodic sweep.
               - Run as an administrator or as the owner:
                   alter table public.films enable trigger "rowmill_1_insert";
  ok           Config: every pipeline in the database is in the config
  ok           Pauses: none
  ok           Work: no worker is running, and nothing is waiting for one
  ok           Batches: the provider has no orphan batch of the last day`,
      end: "2 problems, 2 warnings.",
    },
    status: 2,
  },

  "a pause, a pipeline that left the config, and no worker": {
    sql: `update rowmill.pipelines set pause_kind = 'person', pause_reason = 'the prompt is under review', paused_at = now();
      insert into films values (10, 'Ten', 'A film about the number ten.');`,
    config: `movies: pipeline({ source, polling, request, answer, target: { table: "film_labels" } })`,
    says: {
      Tables: healthy.Tables.replaceAll("films:", "movies:"),
      Pipelines: `  ok           Ledger: up to date
  ok           Triggers: movies: rowmill up creates its triggers
  warning      Config: films is in the database, but not in the config: its triggers still record changed rows, and no worker reads them.
               - Put it back into the config under the same name. Under a new name it is a new pipeline, which sends every row again.
               - Or remove its triggers: rowmill uninstall films
  warning      Pauses: films is paused: the prompt is under review.
               - To resume it: rowmill resume films
  warning      Work: No worker is running, but work is waiting: 1 recorded change.
               - Start one: rowmill up. From cron: rowmill up --once
  ok           Batches: the provider has no orphan batch of the last day`,
      end: "3 warnings.",
    },
    status: 0,
  },

  "a pooler between, and a file where the folder of batch files should be": {
    files: { ".rowmill": "" },
    env: async ({ url, keep }) => {
      const pooler = keep(await startPooler(Number(new URL(url).port)));
      return { DATABASE_URL: changed(url, (to) => (to.port = String(pooler.port))) };
    },
    says: {
      Machine: `  ok           Node.js: NODE
  problem      Disk: FOLDER/.rowmill is a file.
               - Remove or rename it: Rowmill needs a folder of this name for batch files.`,
      end: "1 problem.",
      Database: healthy.Database.replace(
        "Pooler: none: a direct connection",
        `Pooler: connected through a pooler or proxy, which Rowmill supports
               - Transaction mode is fine: Rowmill keeps nothing in a session. Poolers do not pass notifications on, so workers poll several times a second.
               - Each worker opens up to 10 connections: allow as many in the pooler. The pooler's time limits for statements apply to Rowmill too.`,
      ),
    },
    status: 2,
  },

  "a ledger that takes a newer Rowmill": {
    sql: `update rowmill.deployment set oldest_version = 99`,
    says: {
      Pipelines: `  problem      Ledger: A newer Rowmill upgraded this ledger to schema version 99; this Rowmill knows N.
               - Install the newer version of Rowmill: npm install rowmill@latest
               - Nothing is lost: workers of the newer version continue what this one had begun.
  not checked  Triggers, Config, Pauses, Work, Batches: the ledger cannot be used`,
      end: "1 problem, 5 not checked.",
    },
    status: 2,
  },
};

/** The whole of what is shown. */
export function wholeText(says: Partial<Report>): string {
  const { end, ...report } = { ...healthy, ...says };
  return `${Object.entries(report)
    .map(([group, lines]) => `${group}\n${lines}\n\n`)
    .join("")}${end}\n`;
}

export function setupOf(name: string): Setup {
  const setup = setups[name];
  if (setup === undefined) throw new Error(`There is no set-up "${name}".`);
  return setup;
}
