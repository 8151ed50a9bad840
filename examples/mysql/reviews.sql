create table reviews (
  id bigint auto_increment primary key,
  product varchar(100) not null,
  text text not null,
  changed_at timestamp(6) not null default current_timestamp(6) on update current_timestamp(6),
  index (changed_at, id)
);

insert into reviews (product, text) values
  ('Kettle', 'Boils in two minutes, and the handle stays cool. I bought a second one for the office.'),
  ('Kettle', 'The lid broke after a week, and no one answers my mails.'),
  ('Lamp', 'Nice light. The cable could be longer.'),
  ('Lamp', 'Arrived with a crack in the shade; the shop sent a new one the next day.'),
  ('Desk', 'Took three hours to put together, because two screws were missing.'),
  ('Desk', 'Solid, flat, does not move. What else should a desk do?');
