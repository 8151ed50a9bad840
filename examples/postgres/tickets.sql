-- A help desk: what customers wrote. A ticket is known by its account and its number in that account.
create schema support;

create table support.tickets (
  account text not null,
  number integer not null,
  status text not null default 'open' check (status in ('open', 'waiting', 'closed')),
  subject text not null,
  body text not null,
  opened_at timestamptz not null default now(),
  primary key (account, number)
);

insert into support.tickets (account, number, status, subject, body) values
  ('harbour-cafe', 1, 'open', 'Charged twice in March', 'Our card was charged twice for the March invoice. Please refund one of the two payments.'),
  ('harbour-cafe', 2, 'closed', 'How do I add a user?', 'A new colleague starts on Monday. Where do I add a user to our account?'),
  ('harbour-cafe', 3, 'open', 'Till is down', 'Since this morning the till shows an error and we cannot take any payment. Guests are waiting. This is urgent.'),
  ('oak-dental', 1, 'open', 'Reminder texts arrive late', 'Patients get the reminder after their appointment instead of the day before. It began with the last update.'),
  ('oak-dental', 2, 'waiting', 'Export of patient list', 'We need a list of all patients as a spreadsheet for our auditor. The export stops after one hundred rows.'),
  ('oak-dental', 3, 'open', 'Thank you', 'The new calendar is a joy to use. Everybody in the practice likes it. Thank you!'),
  ('lumen-print', 1, 'open', 'Change of address', 'We have moved. Please put the new address on all invoices from next month on.'),
  ('lumen-print', 2, 'open', 'Password reset mail never comes', 'I asked for a new password three times and no mail arrived, also not in the spam folder.'),
  ('lumen-print', 3, 'closed', 'Dark mode', 'It would be nice to have a dark mode for the night shift.'),
  ('lumen-print', 4, 'open', 'Prices for a second site', 'We open a second workshop in autumn. What would it cost to add it to our plan?'),
  ('north-school', 1, 'open', 'Pupils see the grades of others', 'Two pupils told me that they can see the grades of the whole class. Please close this at once.'),
  ('north-school', 2, 'waiting', 'Import of the new year', 'The import of the new classes ends with an error in line 40: the date is not understood.'),
  ('north-school', 3, 'open', 'Cancel our subscription', 'We change to the system of the district and want to cancel at the end of the term.'),
  ('mill-bakery', 1, 'open', 'App crashes on the old tablet', 'The app closes itself as soon as I open the order list. It is a tablet from 2016.'),
  ('mill-bakery', 2, 'open', 'Invoice without tax number', 'The last invoice lacks our tax number, and our accountant sends it back to me.'),
  ('mill-bakery', 3, 'open', 'Labels print in the wrong language', 'Since yesterday the labels come out in English. They must be in French by law.');
