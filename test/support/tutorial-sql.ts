/**
 * The tutorial's SQL, restored from what it was seen to do: its trigger, its body to the byte, the DELETE between two
 * ids that nothing sets. Only the table's name and the URL are filled in; its table has the column `id` that the DELETE
 * names.
 */

export const TUTORIAL_TABLE = `
  create table imdb_dataset (
    id bigint generated always as identity,
    imdb_id bigint primary key,
    "Title" text,
    "Description" text
  );`;

export function tutorialSql(url: string): string {
  return `
    create function post_rows() returns void language plpgsql as $$
    declare
      start_id bigint;
      end_id bigint;
      body json;
    begin
      select json_build_object(
        'data', array_to_json(array_agg(row_to_json(numbered))),
        'min_id', min(numbered.imdb_id),
        'max_id', max(numbered.imdb_id))
      into body
      from (
        select imdb_id, "Description", row_number() over (order by imdb_id) as rn
        from imdb_dataset
        order by imdb_id
        limit 1000) numbered;
      perform http_post('${url}', body::text, 'application/json');
      delete from imdb_dataset where id between start_id and end_id;
    end;
    $$;

    create function check_row_count() returns trigger language plpgsql as $$
    declare
      row_count integer;
    begin
      select count(*) into row_count from imdb_dataset;
      if row_count = 1000 then
        perform post_rows();
      end if;
      return new;
    end;
    $$;

    create trigger row_count_trigger after insert on imdb_dataset for each row execute function check_row_count();`;
}

/** The guide's trigger instead: one post for each statement, with its rows. */
export function statementTrigger(url: string): string {
  return `
    create or replace function post_new_rows() returns trigger language plpgsql as $$ begin
      perform http_post('${url}', (select json_agg(r) from new_rows r)::text, 'application/json');
      return null;
    end $$;
    drop trigger row_count_trigger on imdb_dataset;
    create trigger post_new_rows after insert on imdb_dataset
      referencing new table as new_rows for each statement execute function post_new_rows();`;
}

/** The guide's repair: a line to run after a load, or from pg_cron. */
export function repair(url: string): string {
  return `select http_post('${url}', (select json_agg(d) from imdb_dataset d)::text, 'application/json')`;
}

/**
 * As the extension `http` does it: an error of the server returns; a connection that is refused, cut or silent for 5
 * seconds raises, and so fails the statement; at most 5 redirects.
 */
export const HTTP_POST = `
  create extension plpython3u;
  create type http_response as (status integer, content_type text, content text);
  create function http_post(uri text, content text, content_type text) returns http_response language plpython3u as $$
import http.client, time, urllib.parse
address = uri
deadline = time.monotonic() + 5
for _ in range(6):
    parts = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=1)
    connection.connect()
    connection.sock.settimeout(max(0.001, deadline - time.monotonic()))
    headers = {"Content-Type": content_type, "Accept-Encoding": "identity", "Connection": "close"}
    if len(content) > 1048576:
        headers["Expect"] = "100-continue"
    connection.request("POST", parts.path, content.encode(), headers)
    response = connection.getresponse()
    answer = response.read().decode()
    connection.close()
    if response.status not in (307, 308):
        return (response.status, response.headers.get("Content-Type"), answer)
    address = urllib.parse.urljoin(address, response.headers["Location"])
plpy.error("too many redirects")
$$;`;
