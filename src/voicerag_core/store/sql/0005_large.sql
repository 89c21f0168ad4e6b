-- Large collections: a choice of index, how widely it is searched, and what building it cost. Runs
-- as voicerag_owner with the schema of the extension on the search path.

ALTER TABLE voicerag.collections
    ADD COLUMN index_kind text NOT NULL DEFAULT 'halfvec' CHECK (index_kind IN ('halfvec', 'bit')),
    ADD COLUMN index_version bigint NOT NULL DEFAULT 0,  -- grows with each build and each tuning
    ADD COLUMN vocabulary_behind boolean NOT NULL DEFAULT false,  -- by the first load
    ADD COLUMN built_vectors bigint,        -- how many the last build took in
    ADD COLUMN built_seconds real,          -- and how long
    ADD COLUMN ef_search integer CHECK (ef_search BETWEEN 1 AND 1000),  -- chosen by tuning
    ADD COLUMN recall_target real CHECK (recall_target > 0 AND recall_target <= 1),
    ADD COLUMN recall real,                 -- measured with this ef_search
    ADD COLUMN tuned_vectors bigint;        -- vectors when it was measured

-- Which table holds the vectors of a collection: the whole one, or one of its partitions.
CREATE FUNCTION voicerag.vectors_of(wanted integer) RETURNS regclass
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    whole CONSTANT regclass := 'voicerag.vectors';
    parts CONSTANT integer := (SELECT count(*) FROM pg_inherits WHERE inhparent = whole);
BEGIN
    FOR part IN 0 .. parts - 1 LOOP
        IF satisfies_hash_partition(whole, parts, part, wanted) THEN
            RETURN format('voicerag.vectors_%s', part)::regclass;
        END IF;
    END LOOP;
    RETURN whole;
END
$$;

-- Builds the HNSW index of a collection: over the vectors, or over the signs of their elements.
CREATE FUNCTION voicerag.build_vector_index(wanted integer, kind text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    width integer;
    here regclass;
    operand text;
    begun timestamptz;
    patience CONSTANT text := current_setting('lock_timeout');
BEGIN
    SELECT dim INTO width FROM voicerag.collections
        WHERE id = wanted AND tenant = current_setting('voicerag.tenant', true);
    IF width IS NULL OR (kind = 'halfvec' AND width > 4000) THEN  -- the widest that HNSW takes
        RETURN false;
    END IF;
    PERFORM set_config('lock_timeout', '0', true);  -- another build may take its time
    PERFORM pg_advisory_xact_lock(wanted, 2);
    PERFORM set_config('lock_timeout', patience, true);
    IF to_regclass(format('voicerag.vectors_hnsw_%s', wanted)) IS NOT NULL THEN
        RETURN false;
    END IF;
    operand := CASE kind
        WHEN 'halfvec' THEN format('(embedding::halfvec(%s)) halfvec_ip_ops', width)
        WHEN 'bit' THEN format(
            '(binary_quantize(embedding::halfvec(%1$s))::bit(%1$s)) bit_hamming_ops', width)
    END;
    here := voicerag.vectors_of(wanted);
    EXECUTE format('LOCK TABLE %s IN SHARE MODE', here);
    begun := clock_timestamp();
    EXECUTE format(
        'CREATE INDEX vectors_hnsw_%s ON %s USING hnsw (%s) WHERE collection_id = %s',
        wanted, here, operand, wanted);
    UPDATE voicerag.collections SET
        index_version = index_version + 1, built_vectors = vectors,
        built_seconds = extract(epoch FROM clock_timestamp() - begun),
        ef_search = CASE index_kind WHEN kind THEN ef_search END,  -- of a restored one it holds
        recall = CASE index_kind WHEN kind THEN recall END,
        tuned_vectors = CASE index_kind WHEN kind THEN tuned_vectors END,
        index_kind = kind
        WHERE id = wanted;
    RETURN true;
END
$$;

-- The same over what the collection's last index was over.
CREATE OR REPLACE FUNCTION voicerag.build_vector_index(wanted integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN voicerag.build_vector_index(wanted, index_kind) FROM voicerag.collections
        WHERE id = wanted AND tenant = current_setting('voicerag.tenant', true);
END
$$;

CREATE FUNCTION voicerag.drop_vector_index(wanted integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE voicerag.collections SET index_version = index_version + 1
        WHERE id = wanted AND tenant = current_setting('voicerag.tenant', true);
    IF NOT FOUND OR to_regclass(format('voicerag.vectors_hnsw_%s', wanted)) IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP INDEX voicerag.vectors_hnsw_%s', wanted);
    RETURN true;
END
$$;

REVOKE ALL ON FUNCTION voicerag.build_vector_index(integer, text), voicerag.drop_vector_index
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    voicerag.build_vector_index(integer, text), voicerag.drop_vector_index TO voicerag_writer;

-- The words of a passage as in 0002_words.sql, with less work for what most passages lack: metadata
-- that is no title, and letters that need no pairs.
CREATE OR REPLACE FUNCTION voicerag.passage_words(language regconfig, body text, metadata jsonb)
RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    value text := body;
BEGIN
    IF jsonb_typeof(metadata -> 'lead') = 'string' THEN
        value := (metadata ->> 'lead') || E'\n' || value;
    END IF;
    IF jsonb_typeof(metadata -> 'path') = 'array' THEN
        value := coalesce(
            (SELECT string_agg(heading, E'\n' ORDER BY place) || E'\n'
             FROM jsonb_array_elements_text(metadata -> 'path') WITH ORDINALITY p(heading, place)),
            '') || value;
    END IF;
    IF jsonb_typeof(metadata -> 'title') = 'string' THEN
        value := (metadata ->> 'title') || E'\n' || value;
    END IF;
    IF octet_length(value) > length(value) THEN  -- not all of it is ASCII
        value := voicerag.searchable(value);
    END IF;
    RETURN to_tsvector(language, value);
END
$$;

-- As in 0003_vocabulary.sql, but for the first load of a collection, which says so: its words are
-- counted once, after it.
CREATE OR REPLACE FUNCTION voicerag.keep_vocabulary() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND current_setting('voicerag.loading', true) = 'on' THEN
        UPDATE voicerag.collections SET vocabulary_behind = true
            WHERE id IN (SELECT collection_id FROM fresh) AND NOT vocabulary_behind;
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' THEN
        UPDATE voicerag.collections SET vocabulary_version = vocabulary_version + 1
            WHERE id IN (SELECT collection_id FROM fresh);
    ELSE
        UPDATE voicerag.collections SET vocabulary_version = vocabulary_version + 1
            WHERE id IN (SELECT collection_id FROM gone);
        -- Words of which none is left go, by their key: two parts of one statement, since each of
        -- them sees the rows as they were before it.
        WITH lost AS MATERIALIZED (
            SELECT tenant, collection_id, word, count(*) AS passages
            FROM gone, voicerag.written_words(body, metadata) word GROUP BY 1, 2, 3
        ), dropped AS (
            DELETE FROM voicerag.vocabulary v USING lost o
            WHERE (v.tenant, v.collection_id, v.word) = (o.tenant, o.collection_id, o.word)
                AND v.passages <= o.passages
        )
        UPDATE voicerag.vocabulary v SET passages = v.passages - o.passages FROM lost o
            WHERE (v.tenant, v.collection_id, v.word) = (o.tenant, o.collection_id, o.word)
                AND v.passages > o.passages;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO voicerag.vocabulary AS v
            SELECT tenant, collection_id, word, count(*)
            FROM fresh, voicerag.written_words(body, metadata) word GROUP BY 1, 2, 3
            ON CONFLICT (tenant, collection_id, word)
            DO UPDATE SET passages = v.passages + excluded.passages;
    END IF;
    RETURN NULL;
END
$$;

-- Counts the words of a collection whose first load is over, from all its passages. Takes the row of
-- the collection first, as the trigger does: a write that comes meanwhile waits, and adds its own.
CREATE FUNCTION voicerag.count_vocabulary(wanted integer) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE voicerag.collections
        SET vocabulary_behind = false, vocabulary_version = vocabulary_version + 1
        WHERE id = wanted AND vocabulary_behind;
    IF FOUND THEN
        DELETE FROM voicerag.vocabulary WHERE collection_id = wanted;
        INSERT INTO voicerag.vocabulary
            SELECT tenant, collection_id, word, count(*)
            FROM voicerag.tenant_passages, voicerag.written_words(body, metadata) word
            WHERE collection_id = wanted GROUP BY 1, 2, 3;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION voicerag.count_vocabulary FROM PUBLIC;
GRANT EXECUTE ON FUNCTION voicerag.count_vocabulary TO voicerag_writer;
