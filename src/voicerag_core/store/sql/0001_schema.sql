-- Runs as voicerag_owner with the schema of the extension on the search path.

CREATE TABLE voicerag.migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE voicerag.collections (
    id integer GENERATED ALWAYS AS IDENTITY,
    tenant text NOT NULL,
    name text NOT NULL,
    model_id text NOT NULL,
    dim integer NOT NULL CHECK (dim BETWEEN 1 AND 16000),
    language text NOT NULL,                 -- text search configuration of the words
    passages bigint NOT NULL DEFAULT 0,     -- kept by every write, in its transaction
    vectors bigint NOT NULL DEFAULT 0,
    counted_words_at bigint NOT NULL DEFAULT 0,  -- passages when `lexemes` was filled
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name)
);

CREATE TABLE voicerag.documents (
    tenant text NOT NULL,
    collection_id integer NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    source text NOT NULL,
    source_hash bytea NOT NULL,             -- sha256: a source may be longer than an index row
    digest text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, collection_id, id),
    UNIQUE (tenant, collection_id, source_hash)
);

CREATE TABLE voicerag.passages (
    tenant text NOT NULL,
    collection_id integer NOT NULL,
    pid bigint GENERATED ALWAYS AS IDENTITY,
    document_id bigint,
    hash bytea NOT NULL,                    -- of text, metadata and vectors
    id text NOT NULL,
    body text NOT NULL,
    metadata jsonb NOT NULL,
    words tsvector NOT NULL,
    PRIMARY KEY (tenant, collection_id, pid),
    UNIQUE (tenant, collection_id, id)
);
CREATE INDEX passages_document ON voicerag.passages (tenant, collection_id, document_id)
    WHERE document_id IS NOT NULL;
CREATE INDEX passages_metadata ON voicerag.passages USING gin (metadata jsonb_path_ops);
CREATE INDEX passages_words ON voicerag.passages USING gin (words);

-- Widths differ by collection, so the column has none; the HNSW index of a collection is a partial
-- one on the column cast to its width. A vector stays inside its row as long as the row fits into
-- a page, so that the planner knows what reading it costs; a wider one moves out, uncompressed.
CREATE TABLE voicerag.vectors (
    tenant text NOT NULL,
    collection_id integer NOT NULL,
    passage bigint NOT NULL,
    ordinal integer NOT NULL,
    embedding halfvec NOT NULL,
    PRIMARY KEY (tenant, collection_id, passage, ordinal)
) WITH (toast_tuple_target = 8160);
ALTER TABLE voicerag.vectors ALTER COLUMN embedding SET STORAGE EXTERNAL;

-- In how many passages of a collection a word stands; words that are not listed are rare.
CREATE TABLE voicerag.lexemes (
    tenant text NOT NULL,
    collection_id integer NOT NULL,
    lexeme text NOT NULL,
    passages bigint NOT NULL,
    PRIMARY KEY (tenant, collection_id, lexeme)
);

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['collections', 'documents', 'passages', 'vectors', 'lexemes'] LOOP
        EXECUTE format('ALTER TABLE voicerag.%I ENABLE ROW LEVEL SECURITY', wanted);
        EXECUTE format('ALTER TABLE voicerag.%I FORCE ROW LEVEL SECURITY', wanted);
        EXECUTE format(
            'CREATE POLICY tenant ON voicerag.%I TO voicerag_owner, voicerag_writer, voicerag_reader '
            'USING (tenant = current_setting(''voicerag.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''voicerag.tenant'', true))', wanted);
        EXECUTE format('GRANT SELECT ON voicerag.%I TO voicerag_reader', wanted);
        EXECUTE format(
            'GRANT SELECT, INSERT, UPDATE, DELETE ON voicerag.%I TO voicerag_writer', wanted);
    END LOOP;
END
$$;
GRANT USAGE ON SCHEMA voicerag TO voicerag_writer, voicerag_reader, voicerag_search;
GRANT SELECT ON voicerag.migrations TO voicerag_writer, voicerag_reader;

-- Under row-level security no index serves a condition whose operator is not leakproof, which the
-- containment of JSON and the match of words are not. This view shows the tenant's passages by an
-- ordinary condition instead, so their GIN indexes are used. Without a tenant it is as empty.
CREATE VIEW voicerag.tenant_passages AS
    SELECT tenant, collection_id, pid, document_id, id, body, metadata, words
    FROM voicerag.passages
    WHERE tenant = current_setting('voicerag.tenant', true);
GRANT SELECT ON voicerag.passages TO voicerag_search;
CREATE POLICY view ON voicerag.passages FOR SELECT TO voicerag_search USING (true);
GRANT CREATE ON SCHEMA voicerag TO voicerag_search;
ALTER VIEW voicerag.tenant_passages OWNER TO voicerag_search;
REVOKE CREATE ON SCHEMA voicerag FROM voicerag_search;
SET LOCAL ROLE voicerag_search;
GRANT SELECT ON voicerag.tenant_passages TO voicerag_owner, voicerag_writer, voicerag_reader;
SET LOCAL ROLE voicerag_owner;

-- Simple lower case mapping of Unicode on every server that has a fixed one (17 and newer);
-- that of the database's locale on older ones.
DO $$
BEGIN
    EXECUTE format(
        'CREATE FUNCTION voicerag.lower_case(value text) RETURNS text '
        'LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $body$ SELECT lower(value%s) $body$',
        CASE WHEN current_setting('server_version_num')::integer >= 170000
            THEN ' COLLATE pg_catalog.pg_c_utf8' ELSE '' END);
END
$$;

-- The program writes as a role that may not define indexes: these two do it for its own tenant.
CREATE FUNCTION voicerag.build_vector_index(wanted integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    width integer;
BEGIN
    SELECT dim INTO width FROM voicerag.collections
        WHERE id = wanted AND tenant = current_setting('voicerag.tenant', true);
    IF width IS NULL OR width > 4000        -- the widest halfvec that HNSW takes
        OR to_regclass(format('voicerag.vectors_hnsw_%s', wanted)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE INDEX vectors_hnsw_%s ON voicerag.vectors '
        'USING hnsw ((embedding::halfvec(%s)) halfvec_ip_ops) WHERE collection_id = %s',
        wanted, width, wanted);
    RETURN true;
END
$$;

CREATE FUNCTION voicerag.drop_collection(wanted text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    doomed integer;
    gone bigint;
BEGIN
    SELECT id INTO doomed FROM voicerag.collections
        WHERE name = wanted AND tenant = current_setting('voicerag.tenant', true) FOR UPDATE;
    IF doomed IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('DROP INDEX IF EXISTS voicerag.vectors_hnsw_%s', doomed);
    DELETE FROM voicerag.vectors WHERE collection_id = doomed;
    DELETE FROM voicerag.passages WHERE collection_id = doomed;
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM voicerag.documents WHERE collection_id = doomed;
    DELETE FROM voicerag.lexemes WHERE collection_id = doomed;
    DELETE FROM voicerag.collections WHERE id = doomed;
    RETURN gone;
END
$$;

-- New numbers for the owner's indexes; tables only, so that plans know a bulk load.
CREATE FUNCTION voicerag.refresh_statistics() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    ANALYZE voicerag.passages, voicerag.vectors
$$;

REVOKE ALL ON FUNCTION
    voicerag.build_vector_index, voicerag.drop_collection, voicerag.refresh_statistics FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    voicerag.build_vector_index, voicerag.drop_collection, voicerag.refresh_statistics
    TO voicerag_writer;
