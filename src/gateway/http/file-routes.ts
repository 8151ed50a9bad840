/** Owns /v1/files: upload, get, list, content, delete. Returns answers; sends nothing itself. */
import type { Owner } from "../storage/api-keys.js";
import type { FileStore } from "../storage/file-store.js";
import { pathParam, queryOf, type GatewayContext, type HttpServer } from "./http-server.js";
import { pageOf } from "../protocol/paging.js";
import { receiveUpload, type FileParts } from "./upload.js";
import { ok, refusal, type Answer, type FileObject } from "../protocol/wire.js";

const PAGE_MAX = 10_000;

export function addFileRoutes(server: HttpServer, parts: FileParts): void {
  const { files } = parts;
  const withFile = (answer: (file: FileObject) => Answer) => (context: GatewayContext, caller: Owner) => {
    const id = pathParam(context, "id");
    const file = files.get(id, caller);
    return file === undefined ? refusal(404, noSuchFile(id), { param: "id" }) : answer(file);
  };
  server.route("POST", "/v1/files", (context, caller) => receiveUpload(context, parts, caller));
  server.route("GET", "/v1/files", (context, caller) => listFiles(files.list(caller), queryOf(context)));
  server.route("GET", "/v1/files/:id", withFile(ok));
  server.route(
    "GET",
    "/v1/files/:id/content",
    withFile((file) => content(files, file)),
  );
  server.route(
    "DELETE",
    "/v1/files/:id",
    withFile((file) => deleteFile(parts, file)),
  );
}

function listFiles(files: readonly FileObject[], asked: Readonly<Record<string, unknown>>): Answer {
  const { purpose } = asked;
  const kept = files.filter((file) => purpose === undefined || file.purpose === purpose);
  const rules = { limitDefault: PAGE_MAX, limitMax: PAGE_MAX, unknownAfter: noSuchFile };
  const listed = pageOf(kept, asked, rules);
  return "refused" in listed ? listed.refused : ok(listed.page);
}

function content(files: FileStore, file: FileObject): Answer {
  return {
    kind: "file",
    status: 200,
    path: files.bytesPath(file.id),
    bytes: file.bytes,
    filename: file.filename,
  };
}

function deleteFile({ files, journal, settings }: FileParts, file: FileObject): Answer {
  files.delete(file.id);
  journal.append({ kind: "fileDeleted", at: settings.clock.nowMs(), fileId: file.id });
  return ok({ id: file.id, object: "file", deleted: true });
}

function noSuchFile(id: string): string {
  return `No such File object: ${id}`;
}
