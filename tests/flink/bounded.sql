-- SPDX-License-Identifier: Apache-2.0
-- For tests: reads the topic as it is from its beginning, and ends there, which closes every window. A reader for each
-- partition, so that windows see its events in its order. NB: before any view of the table, which would keep it as it was.
SET 'parallelism.default' = '${PARALLELISM}';

ALTER TABLE health SET ('scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
