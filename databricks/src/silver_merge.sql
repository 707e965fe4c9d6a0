-- Rows of the source in files that were written since the last merge, an hour of overlap included,
-- each observation once. What counts is when a row landed, not when it arrived at the consumer: a
-- spool may have kept it for days. Files that are written anew, as OPTIMIZE does, are read again,
-- which changes nothing. Of copies the one that is not historical is kept, then the first.
-- Equal event_ids have equal event_times: the second condition lets files of other times be skipped.
MERGE INTO IDENTIFIER(:silver) AS kept
USING (
  SELECT
    event_id,
    event_time,
    tag_path,
    tag_provider,
    numeric_value,
    integer_value,
    string_value,
    boolean_value,
    quality,
    quality_code,
    data_type,
    source_system_id,
    group_id,
    edge_node_id,
    device_id,
    metric_name,
    message_type,
    is_historical,
    seq,
    payload_timestamp,
    ingestion_timestamp,
    arrival_number,
    _metadata.file_modification_time AS landed_at
  FROM IDENTIFIER(:source)
  WHERE _metadata.file_modification_time >= (
    SELECT COALESCE(MAX(landed_at), TIMESTAMP '1970-01-02 00:00:00') - INTERVAL 1 HOUR
    FROM IDENTIFIER(:silver)
  )
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY event_id ORDER BY is_historical, arrival_number
  ) = 1
) AS landed
ON kept.event_id = landed.event_id AND kept.event_time = landed.event_time
WHEN MATCHED AND (
  (kept.is_historical AND NOT landed.is_historical)
  OR (kept.is_historical = landed.is_historical AND landed.arrival_number < kept.arrival_number)
) THEN UPDATE SET *
WHEN NOT MATCHED THEN INSERT *;
