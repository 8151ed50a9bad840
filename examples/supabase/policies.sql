-- Rowmill makes the table of answers closed: row-level security on, no policy, no grant. This opens it for reading, as the films are.
grant select on movie_labels to anon, authenticated;

-- An answer can be read by whoever can read its film: the film's own policies decide.
create policy "labels of films that one can see" on movie_labels for select to anon, authenticated
  using (exists (select from imdb_dataset film where film.imdb_id = movie_labels.imdb_id));
