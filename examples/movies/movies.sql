-- Real films, described in our own words: movies.csv beside this file.
create table movies (
  id bigint primary key,
  title text not null,
  year integer not null,
  genres text not null,
  director text not null,
  description text not null
);

\copy movies from 'movies.csv' with (format csv, header)
