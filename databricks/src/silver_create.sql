-- The silver table: each observation once, clustered for queries by tag and time.
-- landed_at is when the file of a row was written into the source: how far the merge has come.
CREATE TABLE IF NOT EXISTS IDENTIFIER(:silver) (
  event_id STRING NOT NULL,
  event_time TIMESTAMP NOT NULL,
  tag_path STRING NOT NULL,
  tag_provider STRING,
  numeric_value DOUBLE,
  integer_value BIGINT,
  string_value STRING,
  boolean_value BOOLEAN,
  quality STRING NOT NULL,
  quality_code INT,
  data_type STRING NOT NULL,
  source_system_id STRING NOT NULL,
  group_id STRING,
  edge_node_id STRING,
  device_id STRING,
  metric_name STRING NOT NULL,
  message_type STRING NOT NULL,
  is_historical BOOLEAN NOT NULL,
  seq INT,
  payload_timestamp TIMESTAMP,
  ingestion_timestamp TIMESTAMP NOT NULL,
  arrival_number BIGINT NOT NULL,
  landed_at TIMESTAMP NOT NULL
)
USING DELTA
CLUSTER BY (tag_path, event_time);
