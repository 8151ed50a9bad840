create table movies (
  movie_id bigint primary key,
  title text not null,
  description text not null
);

insert into movies (movie_id, title, description) values
  (1, 'The Silent Harbour', 'A weary detective hunts a killer through rainy Lisbon, where nobody is who they say they are.'),
  (2, 'Second Winter', 'Two soldiers fight to survive the first winter of the war in the Alps, and become friends.'),
  (3, 'The Borrowed Signal', 'A runaway android drifts through space with a broken ship and a cargo that will not stop talking.'),
  (4, 'Burning Orchard', 'A country doctor falls in love with the rival who ruined her family.'),
  (5, 'The Last Lantern', 'A family spends one night in a haunted house on a bet, and the house has rules of its own.'),
  (6, 'Paper Island', 'Three children search the jungle for a treasure that their grandfather invented.'),
  (7, 'The Crooked Verdict', 'A young lawyer takes a hopeless case to court and finds that the judge has a secret.'),
  (8, 'Golden Waltz', 'A failing jazz band turns its last concert into a comedy of errors.');
