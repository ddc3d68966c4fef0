-- What a database does: tables, indexes, joins, windows, triggers, transactions, text, numbers.
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, kind INTEGER, weight REAL);
CREATE INDEX by_kind ON item(kind, weight);
CREATE TABLE log(at INTEGER PRIMARY KEY, what TEXT);
CREATE TRIGGER written AFTER UPDATE OF weight ON item WHEN new.weight > old.weight
  BEGIN INSERT INTO log(what) VALUES (printf('%s: %.3f to %.3f', new.name, old.weight, new.weight)); END;
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
  INSERT INTO item SELECT i, 'item-' || hex(mix(i)), mix(i) % 7, mix(i * 3) / 64.0 FROM n;
COMMIT;
SELECT kind, count(*), round(sum(weight), 4), min(name), max(name) FROM item GROUP BY kind;
SELECT a.name, b.name FROM item a JOIN item b ON a.kind = b.kind AND a.id < b.id
  WHERE b.weight - a.weight BETWEEN 0 AND 2.5 ORDER BY a.id, b.id LIMIT 12;
BEGIN;
UPDATE item SET weight = weight * 1.5 WHERE id % 50 = 0;
SAVEPOINT before;
DELETE FROM item WHERE kind IN (SELECT kind FROM item GROUP BY kind ORDER BY avg(weight) DESC LIMIT 3);
SELECT count(*), total(weight) FROM item;
ROLLBACK TO before;
COMMIT;
SELECT count(*), total(weight) FROM item;
SELECT what FROM log ORDER BY at;
SELECT id, kind, rank() OVER (PARTITION BY kind ORDER BY weight), lag(name) OVER (ORDER BY id)
  FROM item WHERE id < 16 ORDER BY id;
WITH RECURSIVE
  x(a) AS (VALUES(-2.0) UNION ALL SELECT a + 0.25 FROM x WHERE a < 0.75),
  y(b) AS (VALUES(-1.0) UNION ALL SELECT b + 0.5 FROM y WHERE b < 1.0),
  m(iter, a, b, u, v) AS (SELECT 0, a, b, 0.0, 0.0 FROM x, y UNION ALL
    SELECT iter + 1, a, b, u * u - v * v + a, 2.0 * u * v + b FROM m
    WHERE u * u + v * v < 4.0 AND iter < 12),
  deepest(iter, a, b) AS (SELECT max(iter), a, b FROM m GROUP BY a, b)
  SELECT b, group_concat(substr(' .+*#', 1 + min(iter / 3, 4), 1), '') FROM deepest GROUP BY b;
SELECT upper(substr(name, 3, 9)), replace(name, 'item', 'thing'), length(name), instr(name, 'A'),
  quote(weight), typeof(weight), weight LIKE '%.5', coalesce(NULL, kind) FROM item WHERE name GLOB '*[0-4]F*' LIMIT 9;
SELECT json_group_array(json_object('id', id, 'kind', kind)) FROM item WHERE id % 97 = 0;
SELECT date(2460000.5 + kind), strftime('%H:%M', kind * 0.037), round(sin(kind), 9) FROM item WHERE id < 8;
EXPLAIN QUERY PLAN SELECT * FROM item WHERE kind = 3 AND weight > 10 ORDER BY weight;
DROP INDEX by_kind;
VACUUM;
PRAGMA integrity_check;
