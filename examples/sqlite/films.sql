create table films (
  id integer primary key,
  title text not null,
  description text not null,
  updated_at text not null default current_timestamp
);
create index films_updated_at on films (updated_at, id);

create trigger films_touch after update of title, description on films
begin
  update films set updated_at = current_timestamp where id = new.id;
end;

insert into films (title, description) values
  ('Nosferatu', 'A clerk travels to a count in the mountains, who follows him home with the plague.'),
  ('The General', 'An engine driver chases the spies who stole his locomotive, and his girl with it.'),
  ('Metropolis', 'The son of a city''s master falls in love with a prophet of the workers below.'),
  ('Safety Last!', 'A clerk climbs a tall building to win his girl, and a thousand dollars.'),
  ('M', 'A city hunts a murderer of children; the thieves hunt him too, for their own reasons.'),
  ('Sunrise', 'A farmer means to drown his wife, and falls in love with her again in the city.');
